"""Scores a model on a list: one pass, one tally, one Evaluation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

from rlossctl.data.label_ids import Suspicion
from rlossctl.data.lists import Sample
from rlossctl.data.preprocess import Preprocess
from rlossctl.errors import RlossError, UsageError
from rlossctl.evaluation.list_pass import EvalOptions, ListPass
from rlossctl.evaluation.predicting.predictor import Predictor
from rlossctl.evaluation.predicting.protocol import Protocol
from rlossctl.evaluation.predicting.rules import Rule
from rlossctl.evaluation.predicting.samples import Listed
from rlossctl.evaluation.reporting.examples import choose, image_scores
from rlossctl.evaluation.running.decoders import Decoders, Decoding
from rlossctl.evaluation.running.runners import LabelRunner, Runner, names_for
from rlossctl.evaluation.scoring.counting import Counting
from rlossctl.evaluation.scoring.doubts import doubts
from rlossctl.evaluation.scoring.evaluation import Evaluation
from rlossctl.evaluation.scoring.shards import Shard
from rlossctl.evaluation.scoring.state import State
from rlossctl.words import counted


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
    shard: Shard | None = None,
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
        shard: this process's part of the list; every process gets the result for the whole list.
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
            shard or Shard(),
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
    names = names_for(predictor.runner, options.class_names)
    counting.check(predictor.num_classes)
    if options.pictures and predictor.rule.output == "masks":
        raise UsageError(
            "masks can overlap, so they cannot be drawn as one picture",
            expected="one class per pixel for a report",
            advice="leave out --masks or --report",
        )
    work = ListPass(predictor, listed, counting, options)
    try:
        work.run()
    except RlossError as error:
        if rescue is not None:
            result = _evaluation(work, predictor, listed, counting, names)
            rescue(dataclasses.replace(result, stopped=str(error)))
        raise
    result = _evaluation(work, predictor, listed, counting, names)
    elsewhere = {
        listed.samples[place].image: "another process could not read it"
        for place in set(range(len(listed.samples))) - set(work.counted()) - set(work.broken)
    }
    result = dataclasses.replace(result, skipped={**result.skipped, **elsewhere})
    positions = options.pictures
    if isinstance(positions, int):
        positions = choose(image_scores(result.counts, counting.interest), positions)
    return dataclasses.replace(result, pictures=work.pictures(positions))


def _evaluation(
    work: ListPass, predictor: Predictor, listed: Listed, counting: Counting, names: list[str]
) -> Evaluation:
    """The evaluation of the images that are counted, without pictures."""
    places, tally = work.counted(), work.tally
    boundary = tally.boundary()
    return Evaluation(
        confusion=tally.confusion,
        class_names=names,
        images=len(places),
        seconds=tally.seconds,
        backend=predictor.runner.backend,
        preprocess=predictor.preprocess,
        counts=tally.counts().images(places),
        image_names=[listed.samples[place].image for place in places],
        protocol=predictor.protocol,
        rule=predictor.rule,
        interest=counting.interest,
        boundary=None if boundary is None else boundary.images(places),
        band=counting.band,
        warnings=(*doubts(tally, names, counting.interest), *_rotated(work, listed)),
        skipped={
            listed.samples[place].image: f"{error.message}: {error.found}"
            for place, error in sorted(work.broken.items())
        },
    )


def _rotated(work: ListPass, listed: Listed) -> Iterator[Suspicion]:
    """Reports photos that the model saw without their EXIF rotation."""
    if work.rotated:
        first = listed.samples[min(work.rotated)].image
        found = f"{counted(len(work.rotated), 'photo')}, the first is {first}; --upright turns them"
        yield Suspicion("EXIF rotation that is not applied", found, fatal=False)
