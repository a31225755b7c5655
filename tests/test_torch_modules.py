"""Modules and .pt files of PyTorch: lists, checkpoints, narrow dtypes, and all that is refused."""

from __future__ import annotations

import io
import os
import pickle
import zipfile

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from safetensors.torch import save_file

import elman
from elman.interop.pytorch.networks import from_torch, to_torch

nn = torch.nn
pytestmark = [pytest.mark.peer, pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")]


class Tagger(nn.Module):
    """A module as users write them: pools, activations and dropout are in its forward."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(11, 4)
        self.lstm = nn.LSTM(4, 5, num_layers=2, batch_first=True, bidirectional=True, dropout=0.5)
        self.norm = nn.LayerNorm(10)
        self.hidden = nn.Linear(10, 6)
        self.fc = nn.Linear(6, 3)

    def forward(self, x):
        x, _ = self.lstm(self.embedding(x))
        return self.fc(torch.relu(self.hidden(self.norm(x[:, -1]))))


@pytest.fixture
def tagger():
    torch.manual_seed(0)
    return Tagger().eval()


TOKENS = np.random.default_rng(0).integers(0, 11, (3, 7))


def shape_of_tagger():
    return elman.Network(
        [
            elman.Embedding(11, 4),
            elman.LSTM(4, 5, bidirectional=True),
            elman.Dropout(0.5),
            elman.LSTM(10, 5, bidirectional=True),
            elman.LastStep(),
            elman.LayerNorm(10),
            elman.Dense(10, 6, "relu"),
            elman.Dense(6, 3),
        ]
    )


def agrees(net, module):
    want = module(torch.tensor(TOKENS)).detach().numpy()
    np.testing.assert_allclose(net(TOKENS)[0], want, rtol=0, atol=1e-5)


# Modules of one's own.


def test_a_class_of_ones_own_by_a_network_of_its_shape(tagger, tmp_path):
    torch.save(tagger.state_dict(), tmp_path / "tagger.pt")
    torch.save({"epoch": 3, "model_state_dict": tagger.state_dict(), "loss": 0.5}, tmp_path / "checkpoint.pth")
    save_file(tagger.state_dict(), tmp_path / "tagger.safetensors")
    for source in (tagger, tagger.state_dict(), tmp_path / "tagger.pt", str(tmp_path / "checkpoint.pth")):
        agrees(from_torch(source, like=shape_of_tagger()), tagger)
    agrees(from_torch(tmp_path / "tagger.safetensors", like=shape_of_tagger()), tagger)


def test_a_class_of_ones_own_by_a_list_of_what_it_runs(tagger):
    net = from_torch(
        [tagger.embedding, tagger.lstm, elman.LastStep(), tagger.norm, tagger.hidden, nn.ReLU(), tagger.fc]
    )
    agrees(net, tagger)
    assert [type(layer).__name__ for layer in net.layers[1:4]] == ["LSTM", "Dropout", "LSTM"]
    assert net.layers[6].config["activation"] == "relu"


def test_a_class_of_ones_own_is_refused_by_itself(tagger):
    words = r"the module: its class must be one of Sequential, .* or like=.* Got .*\.Tagger\."
    with pytest.raises(elman.FormatError, match=words):
        from_torch(tagger)
    with pytest.raises(elman.FormatError, match="hidden and fc, two Linear in a row"):
        from_torch(tagger.state_dict())
    with pytest.raises(TypeError, match=r"source\[1\] must be a module of PyTorch or a layer of elman. Got an int"):
        from_torch([tagger.lstm, 3])
    with pytest.raises(TypeError, match="like and order must be left out"):
        from_torch([tagger.lstm], order=["lstm"])


# Modules that are not what their class says.


def hooked(register):
    module = nn.LSTM(3, 5)
    getattr(module, register)(lambda *args: None)
    return module


def overridden():
    module = nn.Linear(3, 5)
    module.forward = lambda x: x
    return module


class Subclass(nn.LSTM):
    """It might compute anything."""


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: nn.CELU(), r"its class must be one of .* Got torch\.nn\.modules\.activation\.CELU"),
        (lambda: nn.Sequential(nn.LSTM(3, 5), nn.GroupNorm(1, 5)), "the module 1: its class"),
        (
            lambda: nn.Sequential(nn.LSTM(3, 5), nn.Sequential(nn.Tanh(), nn.Conv2d(5, 5, 1))),
            r"the module 1\.1: its class",
        ),
        (lambda: Subclass(3, 5), "its class must be one of"),
        (lambda: nn.EmbeddingBag(5, 3), "its class must be one of"),
        (lambda: hooked("register_forward_hook"), "what it computes must be that of its class. Got hooks"),
        (lambda: hooked("register_forward_pre_hook"), "Got hooks"),
        (lambda: hooked("register_full_backward_hook"), "Got hooks"),
        (lambda: nn.Sequential(hooked("register_forward_hook")), "the module 0: what it computes"),
        (lambda: overridden(), "a forward of its own"),
        (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(3, 5)), "its class must be one of"),
        (lambda: nn.Embedding(5, 3, max_norm=1.0), "max_norm must be left out of an Embedding. Got 1.0"),
        (lambda: nn.Embedding(5, 3, max_norm=0.0), "max_norm must be left out of an Embedding. Got 0.0"),
        (lambda: nn.Embedding(5, 3, scale_grad_by_freq=True), "scale_grad_by_freq must be left out"),
        (lambda: nn.LayerNorm((4, 5)), "a LayerNorm must act over the last axis alone"),
        (lambda: nn.Softmax(dim=1), "a softmax must have dim=-1, the features. Got 1"),
        (lambda: nn.LogSoftmax(dim=0), "a softmax must have dim=-1"),
        (lambda: nn.Softplus(beta=2), "a Softplus must have beta 1"),
        (lambda: nn.Softplus(threshold=5), "a Softplus must have beta 1 and a threshold from 20 up"),
        (lambda: nn.Threshold(1.0, 2.0), "a Threshold must have the value 0"),
        (lambda: nn.LeakyReLU(-0.1), "alpha must be a number over 0"),
        (lambda: nn.Dropout(1.0), "rate must be under 1"),
        (lambda: nn.Sequential(), "its layers must fit together. layers must hold at least one layer"),
        (lambda: nn.Sequential(nn.LSTM(3, 5), nn.Embedding(5, 3)), "must stand first, as it takes tokens"),
        (lambda: nn.Sequential(nn.LSTM(3, 5), nn.Linear(4, 3)), "must take 5 features"),
        (
            lambda: nn.LSTM(3, 5, device="meta"),
            "weight_ih_l0 must be a dense tensor with numbers in it. Got one that is meta",
        ),
        (lambda: nn.Sequential(nn.LSTM(3, 5), nn.Linear(5, 3).double()), "all its parameters must be float64, or none"),
        (lambda: nn.LSTM(3, 5).to(torch.complex64), "must hold weights in floating point"),
        (lambda: nn.LazyLinear(5), "its class must be one of"),
        (lambda: torch.jit.trace(nn.Linear(3, 5), torch.ones(1, 3)), "its class must be one of"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*omplex modules", "ignore:.*torch.jit", "ignore:Lazy modules")
def test_modules_that_elman_cannot_be(make, words):
    module = make()
    with pytest.raises(elman.FormatError, match=words):
        from_torch(module)


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_tensors_without_numbers_are_refused():
    scale = torch.quantize_per_tensor(torch.ones(20, 3), 0.1, 0, torch.qint8)
    for tensor, words in [
        (scale, "quantized"),
        (torch.ones(20, 3).to_sparse(), "torch.sparse_coo"),
        (torch.ones(20, 3, device="meta"), "meta"),
        (torch.ones(20, 3, dtype=torch.int64), "floating point"),
        (nn.parameter.UninitializedParameter(), "NumPy can read"),
    ]:
        weights = dict(nn.LSTM(3, 5).state_dict()) | {"weight_ih_l0": tensor}
        with pytest.raises(elman.FormatError, match=f"the state_dict: weight_ih_l0 must .*{words}"):
            from_torch(weights)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_narrow_modules_are_read_exactly(dtype, tmp_path):
    module = nn.GRU(3, 5).to(dtype)
    torch.save(module.state_dict(), tmp_path / "net.pt")
    for net in (from_torch(module), from_torch(tmp_path / "net.pt")):
        assert net.dtype == np.float32
        np.testing.assert_array_equal(net.layers[0].Wx.T, module.weight_ih_l0.detach().float().numpy())


def test_nothing_refers_to_the_tensors_and_nothing_changes_them():
    module = nn.Sequential(nn.Embedding(7, 3, padding_idx=0), nn.LSTM(3, 5), nn.LayerNorm(5), nn.Linear(5, 2))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    net = from_torch(module)
    copies = {name: array.copy() for name, array in net.parameters.items()}
    for array in net.parameters.values():
        array += 1
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])
    net = from_torch(module)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    for name, array in net.parameters.items():
        np.testing.assert_array_equal(array, copies[name])


def test_identity_is_a_layer_and_a_linear_takes_the_activation_behind_it():
    net = from_torch(nn.Sequential(nn.Identity(), nn.Linear(3, 5), nn.Sigmoid(), nn.Tanh(), nn.Linear(5, 2)))
    assert [layer.config.get("activation") for layer in net.layers] == ["identity", "sigmoid", "tanh", "identity"]


def test_a_module_that_stands_in_several_places_is_read_in_each():
    torch.manual_seed(0)
    act, lin = nn.Tanh(), nn.Linear(3, 3)
    module = nn.Sequential(nn.Linear(2, 3), act, lin, act, nn.Sequential(lin, act), nn.Linear(3, 1))
    x = torch.randn(4, 5, 2)
    for source in (module, [*module]):
        net = from_torch(source)
        assert len(net.layers) == 4
        np.testing.assert_allclose(net(x.numpy())[0], module(x).detach().numpy(), atol=1e-6)
    conv = nn.Conv1d(3, 3, 1)
    with pytest.raises(elman.FormatError, match="a transpose must stand between LSTM and Conv1d"):
        from_torch(nn.Sequential(conv, nn.Flatten(), nn.LSTM(3, 3), conv))


# Files.


class Evil:
    """A pickle that would write a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


class Bomb:
    """A pickle that would take 16 TiB, by a call that PyTorch allows."""

    def __reduce__(self):
        return (bytearray, (2**44,))


def saved(value, **options):
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def refuses(path, content, words=""):
    path.write_bytes(content)
    with pytest.raises(elman.FormatError, match=rf"{path.name}': .*{words}"):
        from_torch(path)


def test_a_pickle_that_would_run_code(tmp_path):
    trap = tmp_path / "trap"
    words = "refuses"
    state = nn.LSTM(3, 5).state_dict()
    refuses(tmp_path / "evil.pt", saved(Evil(trap)), words)
    refuses(tmp_path / "evil.pth", saved({"model": state, "more": Evil(trap)}), words)
    refuses(tmp_path / "legacy.pt", saved(Evil(trap), _use_new_zipfile_serialization=False), words)
    refuses(tmp_path / "plain.pt", pickle.dumps(Evil(trap)), words)
    refuses(tmp_path / "net.safetensors", pickle.dumps(Evil(trap)), "safetensors")
    refuses(tmp_path / "whole.pt", saved(nn.LSTM(3, 5)), words)
    assert not trap.exists()


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_torchscript_is_refused(tmp_path):
    torch.jit.save(torch.jit.trace(nn.Linear(3, 5), torch.ones(1, 3)), tmp_path / "script.pt")
    with pytest.raises(elman.FormatError, match=r"script\.pt': .* Got a TorchScript archive, which holds a program"):
        from_torch(tmp_path / "script.pt")


@pytest.mark.parametrize("new", [True, False])
def test_files_cut_short_flipped_and_of_random_bytes(tmp_path, new):
    rng = np.random.default_rng(1)
    whole = saved(nn.LSTM(3, 5).state_dict(), _use_new_zipfile_serialization=new)
    path = tmp_path / "net.pt"
    for n in (0, 1, 4, 100, len(whole) // 3, len(whole) // 2, len(whole) - 30):
        refuses(path, whole[:n])
    for n in (1, 8, 500):
        refuses(path, rng.bytes(n))
    refuses(path, b"PK\x03\x04" + rng.bytes(200))
    for i in rng.integers(0, len(whole), 150):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 0x2A]) + whole[i + 1 :])
        try:
            from_torch(path)
        except elman.FormatError as error:
            assert "net.pt'" in str(error)  # noqa: PT017


def test_files_that_claim_more_than_they_hold(tmp_path):
    path = tmp_path / "net.pt"
    huge = torch.ones(1).expand(2**40, 2**10)
    refuses(path, saved({"a.weight": huge}), "its tensors must hold at most 8 times its own .* bytes. Got 4,503,599")
    many = torch.ones(2**10)
    refuses(path, saved({f"{i}.weight": many for i in range(1000)}), "at most 8 times its own .* bytes. Got 4,096,000")
    small = saved({"a.weight": torch.ones(77)}, _use_new_zipfile_serialization=False)
    for claim in (2**50, 2**30 - 1):  # numbers in the storage, BININT1 77 in the pickle
        refuses(path, small.replace(b"KM", pickle.dumps(claim, 2)[2:-1]), "refuses: RuntimeError")
    refuses(path, saved({"a": Bomb()}), "refuses: MemoryError")
    buffer = io.BytesIO()
    source = zipfile.ZipFile(io.BytesIO(saved(nn.LSTM(3, 5).state_dict())))
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for entry in source.infolist():
            packed.writestr(entry.filename, source.read(entry))
    refuses(path, buffer.getvalue(), "every part must be stored as it is")


def test_files_of_other_things(tmp_path):
    path = tmp_path / "net.pt"
    refuses(path, saved([1, 2]), "it must hold a state_dict, names and tensors. Got a list of length 2")
    refuses(path, saved(torch.ones(3)), "it must hold a state_dict")
    refuses(path, saved({"epoch": 3, "net": {}}), "epoch must hold weights in floating point. Got an int")
    refuses(path, saved({"bn.num_batches_tracked": torch.tensor(3)}), "num_batches_tracked")
    refuses(path, saved({3: torch.ones(3)}), "names for keys")
    state = nn.LSTM(3, 5).state_dict()
    refuses(path, saved({"state_dict": state, "model": state}), "one state_dict. Got state_dict, model")
    refuses(path, saved(dict(state) | {"weight_ih_l0": torch.ones(3, 20)}), "must have shape")
    refuses(path, saved({name: value for name, value in state.items() if "weight_hh" not in name}), "weight_hh_l0")
    with pytest.raises(FileNotFoundError, match="path must be a file"):
        from_torch(tmp_path / "none.pt")


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model", None])
@pytest.mark.parametrize("new", [True, False])
def test_checkpoints_and_plain_files(tmp_path, key, new):
    module = nn.LSTM(3, 5, num_layers=2, proj_size=2, batch_first=True)
    content = module.state_dict() if key is None else {"epoch": 7, key: module.state_dict()}
    torch.save(content, tmp_path / "net.pt", _use_new_zipfile_serialization=new)
    x = torch.randn(2, 4, 3)
    y, _ = from_torch(tmp_path / "net.pt")(x.numpy())
    np.testing.assert_allclose(y, module(x)[0].detach().numpy(), rtol=0, atol=1e-6)


def test_to_torch_and_back_by_files(tmp_path):
    net = shape_of_tagger()
    module = to_torch(net)
    torch.save(module.state_dict(), tmp_path / "net.pt")
    save_file(module.state_dict(), tmp_path / "net.safetensors")
    for path in (tmp_path / "net.pt", tmp_path / "net.safetensors"):
        back = from_torch(path, like=net)
        for name, array in back.parameters.items():
            assert array.tobytes() == net.parameters[name].tobytes()
