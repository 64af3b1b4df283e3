"""What may stand in a config, and of which type: one dataclass for each command that runs something."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

Component = dict[str, Any]
"""A ``_target_`` and its arguments; checked where it is built."""


@dataclass
class Runtime:
    """How networks are run."""

    name: str = "onnx"
    """onnx or torch: what runs the generator. Networks that exist as ONNX only run on onnxruntime in either case."""
    providers: list[str] = field(default_factory=lambda: ["CPUExecutionProvider"])
    """Execution providers of onnxruntime, the most wanted first."""
    n_threads: int = 1
    """Threads within one network, fixed so that results do not depend on the machine's load."""
    device: str = "cpu"
    """Device of torch: cpu, cuda, cuda:1."""
    precision: str = "fp32"
    """fp32, fp16 or int8: which of the exported graphs run, where there are several."""
    bundle: str | None = None
    """A folder that `understudy export` wrote: its networks run in place of those of the package."""
    fallback: bool = False
    """Go on, with a warning, on the CPU where the first of the providers is not usable."""
    memory_mb: int | None = None
    """Most memory that onnxruntime's networks may take together."""


@dataclass
class Logs:
    """What a run says on standard error."""

    format: str = "text"
    """text, or json: one object a line."""
    redact: bool = False
    """No path or address but those relative to the collection."""


@dataclass
class Video:
    """How a film is read, tracked and written; counts are of frames."""

    audio: str = "copy"
    """copy or drop; a voice identifies too."""
    subtitles: str = "copy"
    """copy or drop."""
    codec: str | None = None
    """An encoder of FFmpeg (libx264, h264_nvenc, ...); left out: that of the container."""
    crf: float | None = None
    """Constant quality in the encoder's scale; left out: the encoder's usual one."""
    options: dict[str, str] = field(default_factory=dict)
    """Further options of the encoder."""
    n_threads: int = 2
    """Threads of decoder and encoder."""
    segment_frames: int = 150
    """What is lost at most when the run is killed."""
    group_frames: int = 4
    """Frames whose regions share the generator's micro-batches."""
    max_gap: int = 30
    """Longest gap in a track that is closed."""
    extend: int = 5
    """Frames by which a track is lengthened at both ends."""
    smooth: float = 2.0
    """Standard deviation of the smoothing of place and size."""
    cut: float = 0.5
    """Histogram difference above which a scene ends; 1: never."""
    high_confidence: float = 0.6
    """Detections that are matched first."""
    n_samples: int = 3
    """Frames of a track from which attributes are read and on which seeds are tried."""
    max_refused: float = 0.1
    """A track of which the guard refuses a larger share of frames is filled for its whole length."""
    look_twice: bool = True
    """The residual detector looks for faces to track, too."""


@dataclass
class Anonymize:
    """``understudy anonymize``: the main job."""

    input: str = MISSING
    """A file, a folder (recursive), a glob, a list (.txt, .csv, .parquet), or an address (s3://...) of any of them."""
    output: str = MISSING
    """Folder or address that is written: images/, tables, run.yaml, ledger.db."""
    state: str | None = None
    """Folder of this machine for the ledger, where the output is at an address."""
    shard: str | None = None
    """K/N: work on part K of N of the collection only; join the tables with `understudy merge`."""
    boxes: str | None = None
    """JSON lines with the user's own boxes."""
    boxes_mode: str = "replace"
    """replace: the boxes instead of our detector, in pictures that the file names; add: both."""
    boxes_frame: str = "upright"
    """upright, or raw: pixels of the file before its EXIF orientation is applied."""
    target: str = "face"
    """face, body or both: what is replaced."""
    seed: int = 0
    """Another seed gives other understudies."""
    mark: bool = True
    """Declare in the picture's XMP that it was composited with generated parts."""
    measure_encoding: bool = False
    """Note in the table how far lossy files are from their sources outside the masks; takes time."""
    resume: str = "continue"
    """continue: go on where an earlier run stopped; restart: begin anew."""
    max_pixels: int = 200_000_000
    """Larger pictures are refused."""
    n_attempts: int = 3
    """Seeds that are tried before a face is filled."""
    n_candidates: int = 1
    """Understudies that are made of each face; of those that the guard accepts, the one that matches best stays."""
    context: float = 1.45
    """Side of the generator's window over the longer side of the region."""
    body_context: float = 1.25
    """The same for bodies."""
    metrics_file: str | None = None
    """Prometheus text file of rates and queue depths."""
    accept_licence: str | None = None
    """Name of a checkpoint whose licence does not allow every use, after you have read it."""
    debug: bool = False
    """Show the traceback of an error."""
    logs: Logs = field(default_factory=Logs)
    """format=text or json; redact=true: no path outside the collection."""
    detector: Component = MISSING
    residual: Component = MISSING
    generator: Component = MISSING
    guard: Component = MISSING
    blender: Component = MISSING
    attributes: Component = MISSING
    people: Component = MISSING
    """Who looks for people where target is body or both; so for the three that follow."""
    body_generator: Component = MISSING
    body_guard: Component = MISSING
    body_residual: Component = MISSING
    runner: Component = MISSING
    runtime: Runtime = field(default_factory=Runtime)
    video: Video = field(default_factory=Video)
    """Where input is a film."""


@dataclass
class Detect:
    """``understudy detect``: what is found, and nothing else."""

    input: str = MISSING
    """A file, a folder (recursive), a glob, a list (.txt, .csv, .parquet), or an address (s3://...) of any of them."""
    output: str = MISSING
    """File of JSON lines, one for each picture."""
    target: str = "face"
    """face, body or both: who is looked for."""
    max_pixels: int = 200_000_000
    """Larger pictures are refused."""
    debug: bool = False
    """Show the traceback of an error."""
    detector: Component = MISSING
    people: Component = MISSING
    """Who looks for people where target is body or both."""
    runtime: Runtime = field(default_factory=Runtime)


@dataclass
class Train:
    """``understudy train``: from labelled pictures to a model folder."""

    labels: str = MISSING
    """JSON lines: file, face_xyxy, keypoints, subject and the style tags of each picture."""
    output: str = MISSING
    """The model folder that is written."""
    start: str | None = None
    """A model folder to start from, in place of random weights: its encoder stays."""
    references: bool = True
    """Learn to work from a reference face that is laid into the erased region."""
    work: str | None = None
    """Folder of checkpoints and loss curves; OUTPUT.work where left out."""
    seed: int = 0
    """Of crops, first weights, noise: the same seed gives the same model on the same machine."""
    n_crops: int = 8
    """Crops of each picture."""
    crop_size: int = 128
    """Side of a crop, px."""
    margin_cells: int = 2
    """Cells on each side of a crop that the networks do not see."""
    latent_channels: int = 16
    """Principal components that the autoencoder keeps of a cell."""
    decoder_channels: list[int] = field(default_factory=lambda: [64, 128])
    """Channels of the decoder's blocks, the finest first."""
    n_norm_groups: int = 8
    """Groups of the decoder's normalisation."""
    categories: list[str] = field(default_factory=lambda: ["skin_tone", "head_pose"])
    """Coarse attributes that condition the denoiser, measured on each crop."""
    labelled_categories: list[str] = field(
        default_factory=lambda: ["age_group", "expression", "perceived_gender_expression"]
    )
    """More of them, read from the labels (bins counted from 0; a label that is left out or null is not known)."""
    style_tags: list[str] = field(
        default_factory=lambda: ["skin_tone", "age_group", "expression", "perceived_gender_expression"]
    )
    """Labels by which a style or a reference is drawn."""
    n_steps: int = 8
    """Steps of the sampler, as the model's config will say."""
    n_workers: int = 1
    """Threads that share a step."""
    onnx: bool = True
    """Export to ONNX at the end."""
    debug: bool = False
    """Show the traceback of an error."""
    network: Component = MISSING
    decoder: Component = MISSING
    """Schedule of the autoencoder's decoder: decoder.n_steps, decoder.batch_size, ..."""
    denoiser: Component = MISSING
    """Schedule of the denoiser: denoiser.n_steps, denoiser.learning_rate, denoiser.n_seconds, ..."""
    sharpen: Component = MISSING
    """Schedule of the decoder's training against a critic in the end; sharpen.n_steps=0 leaves it out."""
    sharpening: Component = MISSING
    """The critic of that last training."""


@dataclass
class Export:
    """``understudy export``: everything that the main job runs, as ONNX for a device."""

    model: str = "understudy-face-128"
    """A model folder, as train writes it, or one that comes with the package."""
    output: str | None = None
    """Folder of the bundle; where left out, the graphs of the generator go into the model's own folder."""
    precisions: list[str] = field(default_factory=lambda: ["fp32", "fp16", "int8"])
    """fp32 always; fp16 for accelerators; int8 for CPUs."""
    parts: list[str] = field(default_factory=lambda: ["detector", "embedder", "probe"])
    """What a bundle holds besides the generator."""
    calibration: str | None = None
    """Folder of pictures of people (renders will do), from which 8-bit ranges are read; drawn ones where left out."""
    n_calibration: int = 16
    """How many of them, evenly spaced."""
    reduce_range: bool = False
    """7-bit weights, for x86 CPUs without VNNI."""
    one_graph: bool = True
    """Also the whole generator in one graph, for the model's number of steps."""
    licence: str = "Apache-2.0"
    """Licence of the model's weights, as the files will say."""
    n_parity: int = 4
    """Crops on which whole understudies are compared."""
    max_difference: int = 2
    """Grey levels by which onnxruntime and torch may differ."""
    debug: bool = False
    """Show the traceback of an error."""


@dataclass
class Serve:
    """``understudy serve``: the main job as a small server."""

    host: str = "127.0.0.1"
    """Address that it is bound to; any but this machine's own (127.0.0.1, localhost) asks for a token."""
    port: int = 8765
    """0: any free one."""
    hosts: list[str] = field(default_factory=list)
    """Further names under which it is reached, behind a proxy; they ask for a token too."""
    token_file: str | None = None
    """A file that holds the bearer token; the environment variable UNDERSTUDY_TOKEN does too."""
    max_bytes: int = 33_554_432
    """Larger bodies are refused while they come in."""
    max_bytes_held: int = 268_435_456
    """Bytes of all bodies in the server."""
    max_pixels: int = 40_000_000
    """Larger pictures are refused, from their header."""
    max_waiting: int = 8
    """Pictures that wait while another is worked on."""
    max_connections: int = 256
    """Further connections are turned away."""
    requests_per_minute: float = 120.0
    """Of one client address, in the long run; 0: no limit."""
    burst: int = 30
    """Requests of one client address that may come at once."""
    header_s: float = 10.0
    """Seconds until the head of a request must be here."""
    body_s: float = 60.0
    """Seconds until its body must be here, and until an answer must have been fetched."""
    stop_s: float = 30.0
    """Seconds that the picture that is worked on is waited for at the end."""
    accept_licence: str | None = None
    """Name of a checkpoint whose licence does not allow every use, after you have read it."""
    seed: int = 0
    """Another seed gives other understudies."""
    mark: bool = True
    """Declare in the picture's XMP that it was composited with generated parts."""
    n_attempts: int = 3
    """Seeds that are tried before a face is filled."""
    n_candidates: int = 1
    """Understudies that are made of each face; of those that the guard accepts, the one that matches best stays."""
    context: float = 1.45
    """Side of the generator's window over the longer side of the region."""
    debug: bool = False
    """Show the traceback of an error."""
    detector: Component = MISSING
    residual: Component = MISSING
    generator: Component = MISSING
    guard: Component = MISSING
    blender: Component = MISSING
    attributes: Component = MISSING
    runtime: Runtime = field(default_factory=Runtime)


@dataclass
class Audit:
    """``understudy audit``: what was protected, what was altered, who pays for it."""

    before: str = MISSING
    """Folder of the originals."""
    after: str = MISSING
    """Folder of the anonymised pictures, of any tool; an output folder of understudy is read with its manifest."""
    output: str = MISSING
    """Folder that is written: audit.json, tables, report.html."""
    null: str | None = None
    """Folder of the same pictures with nothing replaced (generator=null_edit, or re-encoded): the meter's own error."""
    labels: str | None = None
    """CSV or Parquet file with what people said of themselves, or annotators of them; see label_format."""
    cache: str | None = None
    """Folder of what was read from pictures; OUTPUT/.cache where left out."""
    keep_readings: bool = True
    """Keep what was read (embeddings too), so that the next audit of the same pictures takes seconds."""
    seed: int = 0
    """Of every resampling: the same seed gives the same figures."""
    n_boot: int = 1000
    """Bootstrap draws over people."""
    n_permutations: int = 999
    """Shuffles of each permutation test."""
    level: float = 0.95
    """Of every interval."""
    minimum_n: int = 10
    """People under which a group's figure is withheld."""
    far_targets: list[float] = field(default_factory=lambda: [1e-2, 1e-3])
    """False accept rates at which true accepts are counted."""
    groups: list[str] | None = None
    """Attributes whose groups are compared; labels and the main perceived ones where left out."""
    intersections: list[Any] = field(default_factory=lambda: [["skin_tone", "perceived_gender_expression"]])
    """Lists of attributes that are crossed into groups, where all of them are read."""
    second_confidence: float = 0.7
    """Less confident finds of the second detector are no faces."""
    n_workers: int = 2
    """Threads that read pictures."""
    max_pixels: int = 200_000_000
    """Larger pictures are refused."""
    debug: bool = False
    """Show the traceback of an error."""
    beautification: dict[str, Any] = MISSING
    """Weights of the index's parts."""
    gates: dict[str, Any] = MISSING
    """Limits: each with name, metric, limit, rule, attribute, group, minimum_n, judge, minus_null, allow_undecided."""
    report: dict[str, Any] = MISSING
    """html: write report.html; pictures: none or after (a contact sheet); key: PEM file to sign with."""
    attacker: Component = MISSING
    detector: Component = MISSING
    second: Component = MISSING
    estimator: Component = MISSING
    people: Component = MISSING
    extractor: Component = MISSING
    perceptual: Component = MISSING
    label_format: Component = MISSING
    runtime: Runtime = field(default_factory=Runtime)


@dataclass
class Compare:
    """``understudy compare``: the leaderboard of several runs."""

    runs: str = MISSING
    """A folder with output folders of `understudy anonymize` below it, such as a sweep's."""
    output: str = MISSING
    """Folder that is written: leaderboard.csv, leaderboard.html, audits/."""
    before: str | None = None
    """Folder of the originals; left out: what each run says was its input."""
    audit: str = "missing"
    """missing: audit the runs that have no audit, or an older one than their pictures; read: only read."""
    audits: list[str] = field(default_factory=list)
    """Settings of the audits that are run, such as n_boot=200."""
    debug: bool = False
    """Show the traceback of an error."""


SCHEMAS = {
    "anonymize": Anonymize,
    "detect": Detect,
    "train": Train,
    "export": Export,
    "serve": Serve,
    "audit": Audit,
    "compare": Compare,
}
"""Schema of each command's primary config, by the config's name."""
