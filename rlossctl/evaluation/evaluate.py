"""Scores a model on a list: one pass, one tally, one Evaluation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from rlossctl.data.lists import Sample
from rlossctl.data.preprocess import Preprocess
from rlossctl.errors import RlossError, UsageError
from rlossctl.evaluation.list_pass import EvalOptions, ListPass
from rlossctl.evaluation.parts import processes
from rlossctl.evaluation.parts.packing import Packed
from rlossctl.evaluation.parts.part import Part
from rlossctl.evaluation.predicting.predictor import Predictor
from rlossctl.evaluation.predicting.protocol import Protocol
from rlossctl.evaluation.predicting.rules import Rule
from rlossctl.evaluation.predicting.samples import Listed
from rlossctl.evaluation.reporting.examples import choose, image_scores
from rlossctl.evaluation.running.decoders import Decoders, Decoding
from rlossctl.evaluation.running.runners import LabelRunner, Runner, names_for
from rlossctl.evaluation.scoring.about import About
from rlossctl.evaluation.scoring.counting import Counting
from rlossctl.evaluation.scoring.evaluation import Evaluation
from rlossctl.evaluation.scoring.record import Record, check_broken, evaluation_of, joined
from rlossctl.evaluation.scoring.state import State


def evaluate(
    runner: Runner | LabelRunner,
    samples: Sequence[Sample],
    *,
    preprocess: Preprocess | None = None,
    protocol: Protocol | None = None,
    rule: Rule | None = None,
    class_names: Sequence[str] | None = None,
    ignore: int = 255,
    interest: Sequence[int] | None = None,
    band: float | None = None,
    list_name: str = "list",
    pictures: int | Sequence[int] = 0,
    workers: int = 2,
    decoders: Decoders = "threads",
    state: State | None = None,
    part: Part | None = None,
    progress: bool = True,
    upright: bool = False,
    skip_broken: int = 0,
) -> Evaluation:
    """Scores a model on labelled images, each at its own size, with one tally for the set.

    Args:
        runner: the model.
        samples: lines of a list; each needs a label image.
        preprocess: replaces the runner's own.
        protocol: how photos are shown to the model; by default whole and once.
        rule: how probabilities become predictions; argmax by default.
        class_names: replace the runner's own; "class 0", ... if there are none.
        ignore: label of pixels that are not scored.
        interest: ids of the classes to average over; all by default.
        band: also count boundaries of this width, given as a share of the diagonal (0.02 in the paper).
        list_name: the list's name, for errors.
        pictures: predict this many images again for a report, half with the lowest image-wise IoU and half
            with the highest; or the images at these places in the list.
        workers: how many threads decode and prepare images.
        decoders: "processes" adds as many processes, which decode for the threads; see `decoders.decoding`.
        state: resume from this file, and save to it now and then and whenever the pass stops.
        part: this process's part of the list, if torchrun started several; every process gets the result for
            the whole list.
        progress: show a bar on a terminal, plain lines elsewhere.
        upright: turn photos as their EXIF orientation says; the labels are drawn on upright photos.
        skip_broken: leave out at most this many photos and labels that cannot be read or do not fit each
            other.

    Raises:
        DataError: a file cannot be read, or a label does not fit; the error names the line of the list.
        NetError: the model fails, does not give `num_classes` scores, gives NaN, or its preprocessing is
            unknown.
        UsageError: options do not go together, or the state belongs to another evaluation.
    """
    return evaluate_list(
        Predictor(runner, preprocess, protocol, rule),
        Listed(samples, list_name, upright),
        Counting(ignore, None if interest is None else tuple(interest), band),
        EvalOptions(
            class_names,
            pictures,
            Decoding(workers, decoders),
            state,
            part or Part(),
            progress,
            skip_broken,
        ),
    )


def evaluate_list(
    predictor: Predictor,
    listed: Listed,
    counting: Counting,
    options: EvalOptions,
    rescue: Callable[[Evaluation], None] | None = None,
) -> Evaluation:
    """Does the work of `evaluate`, with the arguments grouped into values; raises the same errors.

    Args:
        rescue: if an error stops the pass, gets the evaluation of the images counted so far before the error
            is raised.
    """
    about = about_of(predictor, counting, options)
    work = ListPass(predictor, listed, counting, options)
    images = {place: sample.image for place, sample in enumerate(listed.samples)}
    try:
        record = work.run()
    except RlossError as error:
        if rescue is not None:
            result = evaluation_of(work.record, about, images)
            rescue(dataclasses.replace(result, stopped=str(error)))
        raise
    if not options.part.whole:
        record = _of_all(work, about, len(images), options.part)
        check_broken(record, images, options.skip_broken)
    result = evaluation_of(record, about, images)
    return with_pictures(result, work, record, options.pictures) if options.part.first else result


def about_of(predictor: Predictor, counting: Counting, options: EvalOptions) -> About:
    """What is evaluated, beside the counts; raises those errors of `evaluate` that need no image."""
    names = names_for(predictor.runner, options.class_names)
    counting.check(predictor.num_classes)
    if options.pictures and predictor.rule.output == "masks":
        raise UsageError(
            "masks can overlap, so they cannot be drawn as one picture",
            expected="one class per pixel for a report",
            advice="leave out --masks or --report",
        )
    return About(
        names,
        predictor.runner.backend,
        predictor.preprocess,
        predictor.protocol,
        predictor.rule,
        counting,
        options.warnings,
    )


def with_pictures(
    result: Evaluation, work: ListPass, record: Record, pictures: int | Sequence[int]
) -> Evaluation:
    """The evaluation of a whole list with pictures, chosen as `EvalOptions` says."""
    chosen = pictures
    if isinstance(chosen, int):
        chosen = choose(image_scores(result.counts, result.interest), chosen)
    return dataclasses.replace(result, pictures=work.pictures(chosen, record.tally.counted()))


def _of_all(work: ListPass, about: About, total: int, part: Part) -> Record:
    """The record of the whole list, from those of all of torchrun's processes."""
    seconds = work.record.tally.seconds
    contents = processes.gather(work.record.packed(work.key).to_bytes(), part)
    records = (Record.of(Packed.from_bytes(content), about, total, "a process") for content in contents)
    whole = joined(records, about.tally(total))
    whole.tally.seconds = seconds
    return whole
