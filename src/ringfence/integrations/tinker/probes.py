"""Risk probes whose model is behind a server; what they are called with is the SDK's ``SamplingClient``."""

from typing import Any

from ringfence.generation import Generator
from ringfence.generation.tinker import TinkerGenerator, answer_means
from ringfence.interleave import JudgedProbe, LikelihoodProbe, Probe


class ServedJudgedProbe(JudgedProbe):
    """The server answers the canaries."""

    def generator(self, model: Any) -> Generator:
        """The server."""
        return TinkerGenerator(model, self.tokenizer)


class ServedLikelihoodProbe(LikelihoodProbe):
    """The server scores the reference answers."""

    def logprobs(self, model: Any) -> list[float]:
        """By the server."""
        return answer_means(model, self.tokenizer, [(row.messages, row.answer) for row in self.rows])


def at_server(probe: Probe | None) -> Probe | None:
    """The same probe of a model behind a server; other probes than these two were refused before."""
    if isinstance(probe, JudgedProbe):
        return ServedJudgedProbe(probe.prompts, probe.judge, probe.tokenizer, probe.sampling)
    if isinstance(probe, LikelihoodProbe):
        return ServedLikelihoodProbe(probe.prompts, probe.tokenizer, probe.scale)
    return None
