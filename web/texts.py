"""Every text of the page, Chinese and English side by side, and which of the two a browser wants."""

from collections.abc import Callable

LANGUAGES = {"zh": "zh-CN", "en": "en"}
COOKIE = "mianpu_language"

Texts = Callable[..., str]
"""``t("path.unknown", name="x")``: the text of that name in one language, with its values put in."""


def texts(language: str) -> Texts:
    """The texts of one language ("zh" or "en").

    >>> texts("en")("document.cuts", n=2)
    'Cut while cleaning: 2 places'
    """
    column = list(LANGUAGES).index(language)

    def text(key: str, **values: object) -> str:
        found = TEXTS[key][column]
        if values.get("n") == 1 and language == "en":
            found = SINGULAR.get(key, found)
        return found.format(**values) if values else found

    return text


def language_of(cookie: str, accept_language: str) -> str:
    """The language a request asks for: what the reader chose on the page, else what the browser prefers, else Chinese.

    >>> language_of("", "fr, en-GB;q=0.8, zh;q=0.5")
    'en'
    """
    for part in cookie.split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE and value in LANGUAGES:
            return value
    wanted: list[tuple[float, int, str]] = []
    for place, part in enumerate(accept_language.split(",")):
        tag, _, quality = part.strip().partition(";q=")
        language = tag.split("-")[0].lower()
        try:
            weight = float(quality or 1)
        except ValueError:
            weight = 0.0
        if language in LANGUAGES and weight > 0:
            wanted.append((-weight, place, language))
    return min(wanted)[2] if wanted else "zh"


# Areas of the glossary (kg/glossary.toml).
AREAS: dict[str, tuple[str, str]] = {
    "attention": ("注意力", "Attention"),
    "position": ("位置编码", "Positions"),
    "normalization": ("归一化", "Normalization"),
    "architecture": ("模型结构", "Architecture"),
    "basics": ("基础", "Basics"),
    "tokenization": ("分词", "Tokenization"),
    "pretraining": ("预训练", "Pre-training"),
    "data": ("数据", "Data"),
    "peft": ("参数高效微调", "Efficient fine-tuning"),
    "alignment": ("对齐", "Alignment"),
    "optimization": ("优化", "Optimization"),
    "distributed": ("分布式训练", "Distributed training"),
    "precision": ("数值精度", "Precision"),
    "quantization": ("量化", "Quantization"),
    "inference": ("推理与部署", "Inference"),
    "decoding": ("解码", "Decoding"),
    "long-context": ("长上下文", "Long context"),
    "moe": ("混合专家", "Mixture of experts"),
    "multimodal": ("多模态", "Multimodal"),
    "prompting": ("提示与智能体", "Prompting and agents"),
    "rag": ("检索增强", "Retrieval"),
    "evaluation": ("评测", "Evaluation"),
}

TEXTS: dict[str, tuple[str, str]] = {
    "title": ("面谱", "Mianpu"),
    "language": ("English", "中文"),
    "tab.chat": ("对话", "Chat"),
    "tab.interview": ("面试", "Interview"),
    "tab.concepts": ("概念", "Concepts"),
    "tab.library": ("资料", "Library"),
    "tab.progress": ("进度", "Progress"),
    "close": ("关闭", "Close"),
    "stop": ("停止", "Stop"),
    "delete": ("移除", "Remove"),
    "delete.sure": ("确定移除？", "Really remove?"),
    "source": ("出处：", "Source:"),
    "comma": ("，", ", "),
    # chat
    "chat.hello": ("问你的笔记", "Ask your notes"),
    "chat.hello.text": (
        "答案只来自资料库，每句话都标出处；点 [1] 可以看到原文。",
        "Answers come from your library only, and every sentence shows its source: press [1] to see the passage.",
    ),
    "chat.examples": ("不妨从这些问题开始", "Questions to start with"),
    "chat.nolibrary": ("资料库还是空的", "The library is empty"),
    "chat.nolibrary.text": (
        "先读入你的笔记，或者用自带的笔记试一试，然后回到这里提问。",
        "Read in your notes, or try the ones that come with Mianpu, then come back and ask.",
    ),
    "chat.openlibrary": ("读入我的笔记", "Add my notes"),
    "chat.starter": ("先用自带笔记", "Try the starter notes"),
    "chat.placeholder": ("问一个问题…", "Ask a question…"),
    "chat.send": ("发送", "Send"),
    "chat.hint": ("Enter 发送，Shift + Enter 换行", "Enter sends, Shift + Enter starts a new line"),
    "chat.understood": ("理解为：", "Understood as: "),
    "chat.change": ("改", "Change"),
    "chat.edit": ("编辑", "Edit"),
    "chat.edit.hint": ("Enter 重新提问，Esc 放弃", "Enter asks again, Esc leaves it"),
    "chat.again": ("重新生成", "Regenerate"),
    "chat.copy": ("复制", "Copy"),
    "chat.copied": ("已复制", "Copied"),
    "chat.following": ("接着可以问", "Ask next"),
    "chat.down": ("到回答末尾", "To the end of the answer"),
    "chat.busy": (
        "这个页面的上一个问题还在回答：等它结束，或者先停止",
        "This page's last question is still being answered: wait, or stop it",
    ),
    "chat.mine": (
        "你同时在问的问题已有 {n} 个：等一个结束，或者停止一个",
        "You have {n} questions at once: wait for one, or stop one",
    ),
    "chat.full": ("排队的人太多，过一分钟再问", "Too many questions are waiting: ask again in a minute"),
    "chat.new": ("新对话", "New chat"),
    "chat.searching": ("正在检索资料…", "Searching the library…"),
    "chat.reading": ("找到 {n} 段资料，正在读…", "Reading {n} passages…"),
    "chat.waiting": ("前面还有 {n} 人，轮到你就开始写", "{n} people are ahead of you; yours starts when they are done"),
    "chat.quote": ("资料原文", "From the library"),
    "chat.quote.shortened": ("资料原文（节选）", "From the library (shortened)"),
    "chat.cited": ("{total} 句中 {n} 句有出处", "{n} of {total} sentences have a source"),
    "chat.legend": ("点状下划线：资料里没有找到依据", "dotted underline: not backed by the library"),
    "chat.contradicts": ("与资料不符", "The source says otherwise"),
    "chat.unsupported": ("资料里没有找到这句话的依据", "Nothing in the library backs this sentence"),
    "chat.cite": ("出处 {n}：{place}", "Source {n}: {place}"),
    "chat.seconds": ("{n} 秒", "{n} s"),
    "chat.stopped": ("已停止", "Stopped"),
    "chat.unsure": (
        "资料里的内容可能不足以回答这个问题，请对照出处核对。",
        "The library may not hold the whole answer: check it against the sources.",
    ),
    "chat.notfound": ("资料中没有找到", "Not in the library"),
    "chat.notfound.text": (
        "资料库里没有能回答这个问题的内容，所以没有生成答案。可以看看这些相近的概念：",
        "Nothing in the library answers this question, so no answer was written. These concepts are close to it:",
    ),
    "chat.notfound.plain": (
        "资料库里没有能回答这个问题的内容，所以没有生成答案。",
        "Nothing in the library answers this question, so no answer was written.",
    ),
    "chat.failed": ("没能回答：{reason}", "No answer: {reason}"),
    "chat.quoteonly": ("没有对话模型，只给出原文", "No chat model: answers are quotations"),
    "side.passages": ("资料", "Passages"),
    "side.near": ("相近的资料", "Passages near the question"),
    "side.empty": (
        "提问之后，回答依据的资料会排在这里；点编号，原文在这里打开。",
        "The passages an answer rests on are listed here; press a number and its document opens here.",
    ),
    "passage.also": ("同样的内容还在：", "The same stands in:"),
    "passage.page": ("第 {n} 页", "page {n}"),
    "passage.open": ("在原文中查看", "Read in its document"),
    "chats.title": ("历史对话", "Earlier chats"),
    "when.today": ("今天", "Today"),
    "when.yesterday": ("昨天", "Yesterday"),
    "when.week": ("一周内", "The last 7 days"),
    "when.earlier": ("更早", "Earlier"),
    "when.found": ("找到的对话", "Chats with these words"),
    "chats.none": ("还没有对话", "No chats yet"),
    "chats.search": ("查找对话", "Search chats"),
    "chats.nomatch": ("没有匹配的对话", "No chat has these words"),
    "chats.export": ("导出", "Export"),
    "chats.rename": ("改名", "Rename"),
    "chats.delete": ("删除", "Delete"),
    "chats.sure": ("确定？", "Sure?"),
    # documents
    "document.characters": ("{n} 字", "{n} characters"),
    "document.cuts": ("清理掉的内容：{n} 处", "Cut while cleaning: {n} places"),
    "document.restore": ("恢复", "Put back"),
    "document.undo": ("撤销", "Undo"),
    "document.corrections": ("你的更正", "Your corrections"),
    "document.restored": ("恢复的内容", "Put back"),
    "document.cutd": ("你删去的内容", "Cut by you"),
    "document.mended": ("已更正，重新读入了《{name}》", "Corrected; {name} was read in again"),
    "document.gone": ("资料库里没有《{name}》了", "{name} is no longer in the library"),
    # interview
    "interview.title": ("模拟面试", "Mock interview"),
    "interview.text": (
        "题目来自你的资料。写下你的回答，按要点打分，再按记忆规律安排下次复习。",
        "Questions come from your notes. Write your answer, have it marked point by point, and see it again when it is due.",
    ),
    "interview.none": ("还没有题目", "No questions yet"),
    "interview.none.text": (
        "资料里的问答会成为面试题。先读入带问答的笔记。",
        "Questions and answers in your notes become interview questions. Read in notes that have some.",
    ),
    "interview.all": ("全部", "All topics"),
    "interview.topic": ("主题", "Topic"),
    "interview.count": ("题数", "Questions"),
    "interview.duecount": ("到期 {n}", "{n} due"),
    "interview.start": ("开始面试", "Start"),
    "interview.unfinished": (
        "上次的面试还没做完：{topic}，{done}/{total} 题",
        "An interview is unfinished: {topic}, {done} of {total}",
    ),
    "interview.resume": ("接着做", "Go on"),
    "interview.number": ("第 {n} 题，共 {total} 题", "Question {n} of {total}"),
    "interview.open": (
        "资料里没有这题的参考答案，写下来但不打分。",
        "The notes give no answer to this one: it is taken but not marked.",
    ),
    "interview.placeholder": (
        "像面试时那样回答：先给结论，再讲原因。Shift + Enter 提交",
        "Answer as you would in the interview: the point first, then the reasons. Shift + Enter submits",
    ),
    "interview.submit": ("提交", "Submit"),
    "interview.reveal": ("看参考答案", "Show the answer"),
    "interview.skip": ("跳过", "Skip"),
    "interview.next": ("下一题", "Next"),
    "interview.toreport": ("看总结", "See the report"),
    "interview.end": ("结束面试", "End"),
    "interview.again": ("再来一场", "Another one"),
    "interview.emptyanswer": (
        "还没有写回答；不会可以看参考答案或跳过。",
        "The answer is empty. You can skip the question or look at the answer.",
    ),
    "interview.score": ("分", "points"),
    "interview.average": ("平均分", "on average"),
    "interview.revealed": ("分：看了参考答案", "points: you looked at the answer"),
    "interview.ungraded": ("没有参考答案，这题不打分。", "There is no reference answer, so this one is not marked."),
    "interview.points": ("要点：{total} 个中答到 {n} 个", "Key points: {n} of {total}"),
    "interview.hit": ("答到：", "Covered: "),
    "interview.miss": ("没答到：", "Missing: "),
    "interview.missed": ("没答到的要点", "Points you missed"),
    "interview.missedcount": ("漏了 {n} 个要点", "{n} points missed"),
    "interview.youranswer": ("你的回答", "Your answer"),
    "interview.matched": ("高亮的是对上要点的部分", "Highlighted: what matched a key point"),
    "interview.reference": ("参考答案", "Reference answer"),
    "interview.due": ("下次复习：{when}（{rating}）", "Next review {when} ({rating})"),
    "interview.due.more": ("觉得不对？换一个评价，日期会跟着变。", "Not how it felt? Choose another rating and the date follows."),
    "interview.report": ("面试总结", "Report"),
    "interview.done": ("做了 {n} 题，共 {total} 题。", "{n} of {total} questions done."),
    "interview.weak": ("比较薄弱：{topics}。", "Weak so far: {topics}."),
    "interview.noweak": ("没有明显的薄弱主题。", "No topic stands out as weak."),
    "interview.nomarks": ("这场没有打分的题。", "Nothing was marked this time."),
    "status.skipped": ("跳过", "skipped"),
    "status.revealed": ("看了参考答案", "looked at the answer"),
    "status.open": ("没有参考答案，未打分", "no reference answer, not marked"),
    "status.ungraded": ("未打分", "not marked"),
    "rating.Again": ("重来", "Again"),
    "rating.Hard": ("困难", "Hard"),
    "rating.Good": ("良好", "Good"),
    "rating.Easy": ("简单", "Easy"),
    "until.now": ("现在", "now"),
    "until.minutes": ("{n} 分钟后", "in {n} min"),
    "until.hours": ("{n} 小时后", "in {n} h"),
    "until.tomorrow": ("明天", "tomorrow"),
    "until.days": ("{n} 天后", "in {n} days"),
    "until.months": ("{n} 个月后", "in {n} months"),
    # concepts
    "concepts.none": ("还没有概念", "No concepts yet"),
    "concepts.none.text": (
        "读入资料后，笔记里提到的概念会排在这里。",
        "Concepts your notes mention are listed here once notes are read in.",
    ),
    "concepts.search": ("在 {n} 个概念里查找", "Search {n} concepts"),
    "concepts.nomatch": ("没有这样的概念", "No concept of that name"),
    "concepts.welcome": ("概念地图", "Concept map"),
    "concepts.welcome.text": (
        "笔记里一起出现的概念连在一起。从一个概念开始走：",
        "Concepts that stand together in your notes are linked. Start from one and walk on:",
    ),
    "concepts.mentions": ("{m} 段资料提到 {n} 次", "mentioned {n} times in {m} passages"),
    "concepts.unmentioned": ("资料里还没有提到这个概念。", "The library does not mention this concept yet."),
    "concepts.passages": ("相关资料", "Passages"),
    "concepts.neighbours": ("相邻概念", "Neighbours"),
    "concepts.alone": ("没有常与它一起出现的概念。", "No other concept stands near it."),
    "concepts.questions": ("相关题目", "Questions"),
    "concepts.noquestions": ("没有问到它的题目。", "No question asks about it."),
    "concepts.practise": ("练这题", "Practise"),
    "concepts.ask": ("问资料", "Ask"),
    "concepts.more": ("还有 {n} 条", "{n} more"),
    "concepts.map.hint": (
        "点一个概念走过去；线越粗，一起出现得越不偶然。键盘用方向键和 Enter。",
        "Click a concept to walk there; thicker lines mean less of a coincidence. Arrow keys and Enter work too.",
    ),
    "concepts.map.label": ("{name} 周围的概念", "Concepts around {name}"),
    "concepts.map.node": ("{name}，提到 {n} 次", "{name}, mentioned {n} times"),
    "path.title": ("两个概念怎么连起来", "How two concepts connect"),
    "path.text": ("给出中间的每一步，和说明这一步的资料。", "Every step between them, with the passage that shows it."),
    "path.from": ("从", "From"),
    "path.to": ("到", "To"),
    "path.find": ("找路径", "Find"),
    "path.unknown": ("没有叫“{name}”的概念", "No concept is called “{name}”"),
    "path.unknown.near": ("没有叫“{name}”的概念，相近的有：{near}", "No concept is called “{name}”; close to it: {near}"),
    "path.same": ("这是同一个概念，换一个试试", "These are the same concept: choose another"),
    "path.none": ("资料里没有把 {a} 和 {b} 连起来的内容", "Nothing in the library links {a} and {b}"),
    # library
    "library.title": ("资料库", "Library"),
    "library.total": (
        "{documents} 篇资料，{passages} 段，{pairs} 道题",
        "{documents} documents, {passages} passages, {pairs} questions",
    ),
    "library.facts": ("{passages} 段 · {pairs} 题 · {n} 字", "{passages} passages · {pairs} questions · {n} characters"),
    "library.none": ("还没有资料", "Nothing here yet"),
    "library.none.text": (
        "把笔记放进“读入资料”，或者先用自带的笔记试一试。",
        "Drop your notes under “Add notes”, or try the notes that come with Mianpu.",
    ),
    "library.filter": ("在 {n} 篇资料里查找", "Search {n} documents"),
    "library.nomatch": ("没有这样的资料", "No document of that name"),
    "library.add": ("读入资料", "Add notes"),
    "library.add.text": (
        "Markdown、文本、网页、PDF、Word、PPT、Jupyter、EPUB，或者装着它们的 zip。没有变的文件会跳过。",
        "Markdown, text, web pages, PDF, Word, PowerPoint, Jupyter, EPUB, or a zip of these. Unchanged files are skipped.",
    ),
    "library.path": ("这台电脑上的文件或文件夹", "A file or folder on this computer"),
    "library.path.hint": ("例如 ~/notes", "for example ~/notes"),
    "library.start": ("读入", "Read in"),
    "library.starter": ("自带笔记", "Starter notes"),
    "library.busy": ("正在读入别的资料，等它结束再试", "Other notes are being read in: wait until that is done"),
    "library.missing": ("没有这个文件或文件夹：{path}", "There is no such file or folder: {path}"),
    "library.nothing": ("先选文件，或者写一个路径", "Choose files or write a path first"),
    "library.copyfailed": ("文件存不下来：{reason}", "The files could not be kept: {reason}"),
    "library.removed": ("已移除《{name}》，原文件还在", "{name} was removed; the file itself stays"),
    "library.stopped": ("已停止。读完的都留下了，再点一次会接着读。", "Stopped. What was finished is kept; start again to go on."),
    "library.added": ("新增 {n} 篇", "{n} added"),
    "library.updated": ("更新 {n} 篇", "{n} updated"),
    "library.unchanged": ("{n} 篇没有变", "{n} unchanged"),
    "library.removedcount": ("移除 {n} 篇", "{n} removed"),
    "library.renamed": ("改名 {n} 篇", "{n} renamed"),
    "library.failed": ("{n} 个文件没能读入", "{n} files could not be read"),
    "library.incomplete": ("{n} 个文件只读入了一部分", "{n} files were read in part"),
    "library.skipped": ("{n} 个文件没有读，原因如下", "{n} files were passed over"),
    "library.same": ("{n} 个文件与已有资料内容相同", "{n} files say what is there already"),
    "library.sameas": ("与《{name}》相同", "the same as {name}"),
    "library.cuts": ("清理 {n} 处", "{n} cuts"),
    "library.empty": ("没有找到可以读入的文件", "No file that can be read was found"),
    # which model answers
    "engine.title": ("回答用的模型", "The model that answers"),
    "engine.own": ("自带模型", "Mianpu's own"),
    "engine.gguf": ("GGUF 文件", "A GGUF file"),
    "engine.server": ("服务器", "A server"),
    "engine.file": ("GGUF 文件，或模型站上的名字", "A GGUF file, or a name on the model hub"),
    "engine.file.hint": ("例如 ~/models/qwen.gguf 或 OWNER/REPOSITORY", "for example ~/models/qwen.gguf or OWNER/REPOSITORY"),
    "engine.address": ("兼容 OpenAI 的服务器地址", "Address of an OpenAI-compatible server"),
    "engine.address.hint": ("例如 localhost:11434", "for example localhost:11434"),
    "engine.model": ("模型名（空着用第一个）", "Model (empty: its first)"),
    "engine.key": (
        "需要密钥时：启动前设置 MIANPU_API_KEY，或用 mianpu models use --key-file。密钥不会存进资料库。",
        "If it wants a key: set MIANPU_API_KEY before the start, or mianpu models use --key-file. The library never holds it.",
    ),
    "engine.test": ("试一下", "Test"),
    "engine.use": ("使用", "Use"),
    "engine.agree": ("同意把问题和资料段落发送过去", "I agree that questions and passages are sent there"),
    "engine.consent": (
        "{host} 不是这台电脑：使用它，你的问题和资料段落会发送到那里。同意的话先勾选，再按一次。",
        "{host} is not this computer: questions and passages of your notes would be sent there. If you agree, tick the box first.",
    ),
    "engine.open": ("连接没有加密，途中的人可以读到。", "The connection is not encrypted: others on the way can read along."),
    "engine.working": ("请稍等…", "One moment…"),
    "engine.inuse": ("现在使用：{name}", "In use: {name}"),
    "engine.none": ("现在没有对话模型", "No chat model now"),
    "engine.states": (
        "模型读过的段落存在磁盘上，不用再读第二遍：现有 {count} 份，占 {size} MB，最多 {budget} MB。",
        "What the model has read is kept on disk and not read twice: {count} pieces, {size} MB of at most {budget} MB.",
    ),
    "engine.states.rate": ("到现在，{rate}% 的时候正好用上。", " So far {rate}% of what was needed was there."),
    "engine.answers": ("能回答：{line}", "It works: {line}"),
    "engine.fails": ("不能用：{line}", "It does not work: {line}"),
    "engine.kept": ("已经换用：{line}", "Now in use: {line}"),
    "stage.start": ("准备中", "Getting ready"),
    "stage.reading": ("读文件", "Reading files"),
    "stage.splitting": ("清理和切分", "Cleaning and splitting"),
    "stage.embedding": ("计算向量", "Embedding"),
    "stage.concepts": ("查找概念", "Finding concepts"),
    "stage.graph": ("整理概念", "Linking concepts"),
    # progress
    "progress.none": ("还没有练习记录", "Nothing practised yet"),
    "progress.none.text": (
        "做一场面试，这里会显示到期的题、连续天数和薄弱的主题。",
        "After an interview this shows what is due, your streak and weak topics.",
    ),
    "progress.begin": ("去面试", "To the interview"),
    "progress.sleeping": (
        "{n} 道练过的题已不在资料库里：记录都在，资料回来就接着练",
        "{n} practised questions stand in no document now: their history is kept, and they come back with their notes",
    ),
    "progress.tile.due": ("今天到期", "Due now"),
    "progress.tile.due.more": ("一周内 {n} 题", "{n} within a week"),
    "progress.tile.streak": ("连续天数", "Days in a row"),
    "progress.tile.streak.more": ("今天练了 {n} 题", "{n} reviewed today"),
    "progress.tile.average": ("平均分", "Average score"),
    "progress.tile.average.more": ("共 {n} 张卡片", "{n} cards"),
    "progress.tile.recall": ("预计还记得", "Likely recalled"),
    "progress.tile.recall.more": ("按 FSRS 估计", "as FSRS estimates"),
    "progress.days": ("最近 {n} 天", "The last {n} days"),
    "progress.day": ("{day}：{n} 题，平均 {average} 分", "{day}: {n} reviewed, {average} on average"),
    "progress.day.none": ("{day}：没有练习", "{day}: nothing"),
    "progress.due": ("该复习的题", "Due for review"),
    "progress.nothingdue": ("现在没有到期的题。", "Nothing is due now."),
    "progress.practise": ("现在练", "Practise now"),
    "progress.weakest": ("最薄弱的主题", "Weakest topics"),
    "progress.reviews": ("{n} 次", "{n} reviews"),
    "progress.notopics": ("还看不出来。", "Too early to tell."),
}

# English where a count of one reads differently.
SINGULAR: dict[str, str] = {
    "chat.reading": "Reading 1 passage…",
    "chat.waiting": "1 person is ahead of you; yours starts when they are done",
    "document.cuts": "Cut while cleaning: 1 place",
    "interview.missedcount": "1 point missed",
    "library.failed": "1 file could not be read",
    "library.incomplete": "1 file was read in part",
    "library.skipped": "1 file was passed over",
    "library.same": "1 file says what is there already",
    "library.cuts": "1 cut",
    "progress.reviews": "1 review",
    "progress.tile.average.more": "1 card",
    "until.months": "in 1 month",
    "concepts.mentions": "mentioned once in {m} passages",
}
