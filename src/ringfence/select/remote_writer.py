"""A chat model behind an OpenAI-compatible API that writes texts for rows. Nothing is kept but the finished shards."""

from typing import Any, ClassVar

from ringfence.generation.chat_api import ChatServer


class RemoteWriter(ChatServer):
    """The server and the model. Rows are sent to it."""

    who: ClassVar[str] = "writer"

    def identity(self) -> dict[str, Any]:
        """What an answer depends on; the rest says how the server is reached."""
        return self.model_dump(include={"model", "base_url", "token_limit"})
