"""Common models by one name each, with what every provider calls them. Pure data."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

from .errors import UnknownName


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelIdentifier:
    """One model under the names that providers have for it; empty where a provider does not have it.

    Args:
        ollama: Its name at Ollama.
        huggingface: Its name on the Hugging Face hub.
        openai: Its name at OpenAI.
    """

    ollama: str = ""
    huggingface: str = ""
    openai: str = ""

    def name_for(self, backend: str) -> str:
        """Return the model's name at a backend.

        Raises:
            UnknownName: the backend does not have the model; the message says which have.
        """
        names = {name: getattr(self, name) for name in self.__slots__ if getattr(self, name)}
        if backend not in names:
            listing = ", ".join(f"{at!r} as {name!r}" for at, name in names.items())
            raise UnknownName(f"Backend {backend!r} does not have this model; {listing}.", valid=tuple(names))
        return str(names[backend])


model_ids = SimpleNamespace(
    IBM_GRANITE_4_1_3B=ModelIdentifier(ollama="granite4.1:3b", huggingface="ibm-granite/granite-4.1-3b"),
    IBM_GRANITE_4_MICRO_3B=ModelIdentifier(ollama="granite4:micro", huggingface="ibm-granite/granite-4.0-micro"),
    IBM_GRANITE_4_HYBRID_MICRO=ModelIdentifier(
        ollama="granite4:micro-h", huggingface="ibm-granite/granite-4.0-h-micro"
    ),
    IBM_GRANITE_3_3_8B=ModelIdentifier(ollama="granite3.3:8b", huggingface="ibm-granite/granite-3.3-8b-instruct"),
    META_LLAMA_3_2_3B=ModelIdentifier(ollama="llama3.2:3b", huggingface="meta-llama/Llama-3.2-3B-Instruct"),
    META_LLAMA_3_1_8B=ModelIdentifier(ollama="llama3.1:8b", huggingface="meta-llama/Llama-3.1-8B-Instruct"),
    MISTRALAI_MISTRAL_0_3_7B=ModelIdentifier(ollama="mistral:7b", huggingface="mistralai/Mistral-7B-Instruct-v0.3"),
    QWEN2_5_7B=ModelIdentifier(ollama="qwen2.5:7b", huggingface="Qwen/Qwen2.5-7B-Instruct"),
    HF_SMOLLM2_1_7B=ModelIdentifier(ollama="smollm2:1.7b", huggingface="HuggingFaceTB/SmolLM2-1.7B-Instruct"),
    OPENAI_GPT_OSS_20B=ModelIdentifier(ollama="gpt-oss:20b", huggingface="openai/gpt-oss-20b"),
    OPENAI_GPT_4O_MINI=ModelIdentifier(openai="gpt-4o-mini"),
    OPENAI_GPT_5_1=ModelIdentifier(openai="gpt-5.1"),
)
"""Models that many use, each a `ModelIdentifier`: `start_session("ollama", model_ids.META_LLAMA_3_2_3B)`."""
