"""The chat model: llama.cpp in process, attention states, the fair queue."""
