"""A server on this machine that speaks the protocol of Tinker's SDK, with a tiny model and real gradients behind it."""

import copy
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model

KEY = "tml-loopback-secret"
Body = dict[str, Any]


@dataclass
class Trained:
    """One model in training."""

    model: PeftModel
    optimizer: torch.optim.AdamW
    base: str

    def state(self) -> Body:
        weights = {name: one.detach().clone() for name, one in self.model.named_parameters() if one.requires_grad}
        return {"weights": weights, "optimizer": copy.deepcopy(self.optimizer.state_dict()), "base": self.base}


@dataclass
class TinkerServer:
    """What the server holds, and what it saw."""

    base: Callable[[], Any]
    """a fresh base model, always the same"""
    url: str = ""
    fails: dict[str, int] = field(default_factory=dict)
    """path -> how many calls of it go well before one fails"""
    models: dict[str, Trained] = field(default_factory=dict)
    saved: dict[str, Body] = field(default_factory=dict)
    samplers: dict[str, Any] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    steps: list[list[Body]] = field(default_factory=list)
    """of every backward pass the rows: ``tokens``, ``target_tokens`` and ``weights``"""
    gradients: list[dict[str, torch.Tensor]] = field(default_factory=list)
    """of every optimizer step, once they are clipped"""
    adam: list[Body] = field(default_factory=list)
    created: list[Body] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    # Models.

    def create_model(self, body: Body) -> Body:
        self.created.append(body)
        lora = body["lora_config"]
        made = self._new(f"{body['session_id']}:train:{body['model_seq_id']}", body["base_model"], lora)
        return self._promise({"model_id": made, "type": "create_model"})

    def _new(self, name: str, base: str, lora: Body) -> str:
        attention, mlp = ["q_proj", "k_proj", "v_proj", "o_proj"], ["gate_proj", "up_proj", "down_proj"]
        targets = attention * lora["train_attn"] + mlp * lora["train_mlp"] + ["lm_head"] * lora["train_unembed"]
        base_model = self.base()
        torch.manual_seed(lora.get("seed") or 0)
        config = LoraConfig(r=lora["rank"], target_modules=targets, task_type="CAUSAL_LM")
        model = get_peft_model(base_model, config).eval()
        trained = [one for one in model.parameters() if one.requires_grad]
        self.models[name] = Trained(model, torch.optim.AdamW(trained, lr=0.0), base)
        return name

    def get_info(self, body: Body) -> Body:
        model = self.models[body["model_id"]]
        return {"model_data": {"model_name": model.base}, "model_id": body["model_id"], "is_lora": True}

    # Steps.

    def forward_backward(self, raw: bytes) -> Body:
        from tinker.proto import tinker_public_pb2 as pb

        message = pb.ForwardBackwardRequest.FromString(raw)
        trained = self.models[message.model_id]
        rows = [_row(datum) for datum in message.data]
        outputs, total = [], torch.zeros(())
        with torch.set_grad_enabled(not message.forward_only):
            for row in rows:
                logprobs = _logprobs(trained.model, row["tokens"], row["target_tokens"])
                outputs.append(logprobs.detach().numpy())
                total = total - (logprobs * torch.tensor(row["weights"])).sum()
        if not message.forward_only:
            self.steps.append(rows)
            total.backward()
        output = pb.ForwardBackwardOutput(loss_fn_output_type="ArrayRecord")
        output.metrics["loss:sum"] = total.item()
        record = output.loss_fn_outputs.add(num_datums=len(rows))
        made = record.fields["logprobs"]
        made.dtype, made.data = pb.DTYPE_FLOAT32, b"".join(one.astype(np.float32).tobytes() for one in outputs)
        made.offsets = np.cumsum([0, *(4 * len(one) for one in outputs)]).astype(np.int64).tobytes()
        return self._promise(output)

    def optim_step(self, body: Body) -> Body:
        trained, adam = self.models[body["model_id"]], body["adam_params"]
        self.adam.append(adam)
        named = {name: one for name, one in trained.model.named_parameters() if one.requires_grad}
        if adam["grad_clip_norm"] > 0:
            torch.nn.utils.clip_grad_norm_(named.values(), adam["grad_clip_norm"])
        self.gradients.append({name: one.grad.clone() for name, one in named.items()})
        for group in trained.optimizer.param_groups:
            group |= {"lr": adam["learning_rate"], "betas": (adam["beta1"], adam["beta2"]), "eps": adam["eps"]}
            group |= {"weight_decay": adam["weight_decay"]}
        trained.optimizer.step()
        trained.optimizer.zero_grad()
        return self._promise({"metrics": {}})

    # Weights.

    def save_weights(self, body: Body) -> Body:
        path = f"tinker://{body['model_id']}/weights/{body['path']}"
        self.saved[path] = self.models[body["model_id"]].state()
        return self._promise({"path": path, "type": "save_weights"})

    def load_weights(self, body: Body) -> Body:
        name, state = f"{body['session_id']}:train:{body['model_seq_id']}", self.saved[body["path"]]
        rank = next(one.shape[0] for key, one in state["weights"].items() if "lora_A" in key)
        mlp = any("gate_proj" in key for key in state["weights"])
        self._new(name, state["base"], {"rank": rank, "train_attn": True, "train_mlp": mlp, "train_unembed": False})
        self.models[name].model.load_state_dict(state["weights"], strict=False)
        if body["optimizer"]:
            self.models[name].optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
        return self._promise({"path": body["path"], "type": "load_weights"})

    def save_weights_for_sampler(self, body: Body) -> Body:
        model = copy.deepcopy(self.models[body["model_id"]].model)
        if body.get("path"):
            path = f"tinker://{body['model_id']}/sampler_weights/{body['path']}"
            self.saved[path] = {"model": model}
            return self._promise({"path": path, "type": "save_weights_for_sampler"})
        session = f"sampler-{len(self.samplers)}"
        self.samplers[session] = model
        return self._promise({"sampling_session_id": session, "type": "save_weights_for_sampler"})

    # Sampling.

    def create_sampling_session(self, body: Body) -> Body:
        session, path = f"sampler-{len(self.samplers)}", body.get("model_path")
        self.samplers[session] = self.saved[path]["model"] if path else self.base().eval()
        return {"sampling_session_id": session}

    def asample(self, body: Body) -> Body:
        from tinker.proto import tinker_public_pb2 as pb

        model, asked = self.samplers[body["sampling_session_id"]], body["sampling_params"]
        ids = [token for chunk in body["prompt"]["chunks"] for token in chunk["tokens"]]
        output = pb.SampleResponse()
        if body.get("prompt_logprobs"):
            with torch.no_grad():
                found = _logprobs(model, ids[:-1], ids[1:]).numpy()
            output.prompt_logprobs = np.concatenate([[np.nan], found]).astype(np.float32).tobytes()
        generator, new = torch.Generator().manual_seed(asked.get("seed") or 0), list[int]()
        stops, ended = set(asked.get("stop") or []), False
        while len(new) < (asked.get("max_tokens") or 16) and not ended:
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([ids + new])).logits[0, -1]
            heat = asked.get("temperature", 1)
            probabilities = (logits / heat).softmax(-1) if heat else torch.zeros_like(logits)
            token = int(torch.multinomial(probabilities, 1, generator=generator) if heat else logits.argmax())
            new.append(token)
            ended = token in stops
        reason = pb.STOP_REASON_STOP if ended else pb.STOP_REASON_LENGTH
        output.sequences.add(stop_reason=reason, tokens=np.array(new, np.int32).tobytes())
        return self._promise(output) | {"sample_sequence_ids": ["one"]}

    def _promise(self, result: Any) -> Body:
        name = f"request-{len(self.results)}"
        self.results[name] = result
        return {"request_id": name}

    def answer(self, path: str, raw: bytes) -> Any:
        """What the call of ``path`` gets: plain data, or a message of protobuf's."""
        name = path.removeprefix("/api/v1/")
        self.calls.append(name)
        if name in self.fails:
            self.fails[name] -= 1
            if self.fails[name] < 0:
                return self._promise({"error": f"injected: no {name} for {KEY}", "category": "user"})
        if name == "forward_backward":
            return self.forward_backward(raw)
        if name.startswith("samplers/"):
            return {"sampler_id": name.removeprefix("samplers/"), "base_model": "tiny"}
        body = json.loads(raw or b"{}")
        if name == "retrieve_future":
            return self.results[body["request_id"]]
        fixed = {
            **{key: {} for key in ("client/config", "client/dynamic_config", "session_heartbeat")},
            "create_session": {"session_id": f"session-{self.calls.count('create_session')}"},
        }
        return fixed[name] if name in fixed else {} if name.endswith("/finish") else getattr(self, name)(body)


def _row(datum: Any) -> Body:
    tokens = np.concatenate([np.frombuffer(one.encoded_text.tokens, np.int32) for one in datum.model_input])
    targets = np.frombuffer(datum.loss_fn_inputs["target_tokens"].dense, np.int64)
    weights = np.frombuffer(datum.loss_fn_inputs["weights"].dense, np.float32)
    return {"tokens": tokens.tolist(), "target_tokens": targets.tolist(), "weights": weights.tolist()}


def _logprobs(model: Any, tokens: list[int], targets: list[int]) -> torch.Tensor:
    """(tokens,): of each target, given the tokens before it."""
    logits = model(input_ids=torch.tensor([tokens]), use_cache=False).logits[0]
    return logits.log_softmax(-1).gather(-1, torch.tensor(targets)[:, None])[:, 0]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: "Server"

    def do_GET(self) -> None:
        self.do_POST()

    def do_POST(self) -> None:
        state = self.server.state
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with state.lock:
            state.keys.add(self.headers.get("X-API-Key", ""))
            try:
                made, status = state.answer(self.path, raw), 200
            except (KeyError, AttributeError) as error:
                made, status = {"detail": f"no such thing: {error}"}, 404
        plain = isinstance(made, dict)
        content = json.dumps(made).encode() if plain else made.SerializeToString()
        self.send_response(status)
        self.send_header("Content-Type", "application/json" if plain else "application/x-protobuf")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, state: TinkerServer) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.state = state


@contextmanager
def tinker_server(base: Callable[[], Any]) -> Iterator[TinkerServer]:
    """A running server, whose key the user has; its ``url`` is what a user would give."""
    state = TinkerServer(base)
    server = Server(state)
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TINKER_API_KEY", KEY)
            yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
