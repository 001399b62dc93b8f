"""Hand-written sentences about five short notes, each marked with whether the notes say it. The thresholds of ``assistant.answers.support``
were chosen on these; nothing here comes from a labelled set."""

NOTES = {
    "kv": (
        "KV 缓存在解码时保存每一层已经算过的键和值,新词元只需计算自己的查询,再与缓存做注意力。\n"
        "它的显存占用等于 2 × 层数 × 键值头数 × 头维度 × 序列长度 × 每个数的字节数。\n"
        "分组查询注意力让多个查询头共用一组键值头,因此缓存按组数成比例缩小。\n"
        "缓存不会减少预填充阶段的计算量。"
    ),
    "lora": (
        "LoRA 冻结预训练权重 W,只训练两个低秩矩阵 A 和 B,更新量为 BA。\n"
        "秩 r 常取 8 到 64,可训练参数往往不到全量微调的 1%。\n"
        "推理前可以把 BA 合并进 W,所以不增加推理延迟。\n"
        "B 初始化为零,训练开始时输出与原模型相同。"
    ),
    "norm": (
        "层归一化对每个样本的特征维度求均值和方差,与批大小无关。\n"
        "RMSNorm 去掉了减均值的步骤,只除以均方根,计算更省。\n"
        "Pre-LN 把归一化放在子层之前,梯度更稳定,深层网络更容易训练;Post-LN 放在残差相加之后。"
    ),
    "rag": (
        "Retrieval-augmented generation first retrieves passages and then generates an answer from them.\n"
        "It lowers hallucination because the model can quote its sources, and the knowledge can be updated without retraining.\n"
        "The retriever usually combines BM25 with dense vectors."
    ),
    "quant": (
        "Weight-only quantization stores the weights in 4 bits and computes in 16 bits, so it saves memory but not arithmetic.\n"
        "GPTQ quantizes layer by layer and corrects the remaining weights with second-order information.\n"
        "AWQ scales the most important channels before rounding, because a few channels carry most of the activation magnitude.\n"
        "Outliers in the activations make 8-bit activation quantization hard."
    ),
}

SAID = (
    "KV 缓存保存已经计算过的键和值，解码新词元时只需计算它自己的查询。",
    "使用 KV 缓存后，每生成一个新 token 都不必重新计算历史 token 的 K 和 V。",
    "KV 缓存的显存与层数、序列长度和键值头数成正比。",
    "缓存大小由层数、键值头数、头维度、序列长度以及数据类型的字节数相乘再乘以 2 得到。",
    "GQA 让多个查询头共享一组键值头，从而缩小缓存。",
    "分组查询注意力通过共用键值头来减小缓存。",
    "KV 缓存对预填充的计算量没有帮助。",
    "LoRA 只训练低秩矩阵 A 和 B，预训练权重保持冻结。",
    "LoRA 的秩一般取 8 到 64。",
    "可训练参数通常少于全量微调的 1%。",
    "因为可以在推理前合并权重，LoRA 不会带来额外的推理延迟。",
    "矩阵 B 初始为零，因此刚开始训练时模型输出不变。",
    "LayerNorm 在特征维度上计算均值和方差，不依赖批大小。",
    "RMSNorm 省去了减去均值这一步，只用均方根做缩放，所以更快。",
    "Pre-LN 的梯度更稳定，适合训练深层网络。",
    "Post-LN 在残差相加之后再做归一化。",
    "RAG 先检索相关段落，再让模型根据它们生成答案。",
    "由于可以引用来源，检索增强生成能减少幻觉。",
    "知识可以更新而无需重新训练模型。",
    "检索器通常把 BM25 和稠密向量结合起来。",
    "RAG reduces hallucination since answers can cite their sources.",
    "LoRA freezes the pretrained weights and trains two low-rank matrices.",
    "RMSNorm drops the mean subtraction and divides by the root mean square only.",
    "The KV cache stores keys and values that were already computed for each layer.",
    "**冻结权重**：LoRA 不更新原始权重 W，只学习低秩增量 BA。",
    "Only the weights are kept in 4 bits; the computation itself still runs in 16 bits.",
    "Weight-only quantization reduces memory use but does not reduce the amount of arithmetic.",
    "GPTQ works layer by layer and uses second-order information to compensate the weights that are left.",
    "AWQ protects important channels by scaling them before rounding.",
    "Activation outliers are the reason why 8-bit activations are difficult to quantize.",
    "The retriever typically uses a combination of BM25 and dense embeddings.",
    "GPTQ 逐层量化，并用二阶信息修正剩余的权重。",
    "AWQ 在取整之前先放大重要通道。",
    "激活中的离群值使 8 位激活量化变得困难。",
    "Grouped-query attention lets several query heads share key and value heads, which makes the cache smaller.",
    "The merged weights add no latency at inference time.",
    "Layer normalization does not depend on the batch size.",
    "Pre-LN gives more stable gradients, so deep networks are easier to train.",
)
NOT_SAID = (
    "KV 缓存可以把显存占用降低 37%。",
    "LoRA 的秩一般取 128 到 512。",
    "KV 缓存最早由 DeepMind 在 2019 年提出。",
    "LoRA 微调一个 7B 模型需要 80GB 显存。",
    "FlashAttention 通过分块减少显存读写。",
    "模型并行把不同的层放到不同的设备上。",
    "学习率通常使用余弦退火并配合预热。",
    "北京是中国的首都。",
    "今天的天气很适合出去散步。",
    "KV 缓存会增加训练阶段的通信开销。",
    "KV 缓存能够减少预填充阶段的计算量。",
    "LoRA 会增加推理延迟。",
    "LoRA 更新全部预训练权重。",
    "RMSNorm 需要先减去均值再除以标准差。",
    "层归一化依赖批大小，批太小时不稳定。",
    "Pre-LN 的梯度更不稳定，深层网络难以训练。",
    "LoRA 可以提高模型的多语言能力和数学推理能力。",
    "LoRA 的两个矩阵采用正交初始化以加快收敛。",
    "使用 KV 缓存时注意力的计算复杂度从平方降到对数。",
    "层归一化的参数在训练后会被剪枝掉。",
    "RAG requires retraining the model whenever the knowledge changes.",
    "RAG was introduced by Google researchers in 2017.",
    "The transformer decoder uses causal masking to prevent attending to future tokens.",
    "Dropout randomly disables neurons during training.",
    "The retriever is trained end to end with reinforcement learning.",
    "GPTQ needs the labels of the training data to fine-tune the model again.",
    "AWQ trains a small network that predicts the rounding error.",
    "Weight-only quantization speeds up training on several GPUs.",
    "Knowledge distillation trains a small student on the outputs of a large teacher.",
    "Quantization to 4 bits loses less than 1% accuracy on MMLU.",
    "Outliers in the activations make training diverge at large learning rates.",
    "GPTQ 需要重新标注训练数据。",
    "AWQ 训练一个小网络来预测取整误差。",
    "RAG 需要在每次知识更新后重新训练。",
    "Layer normalization was designed for convolutional networks on images.",
    "LoRA adapters are trained with reinforcement learning from human feedback.",
    "The KV cache is stored on disk and shared between users.",
    "Grouped-query attention increases the number of key heads for better quality.",
)
