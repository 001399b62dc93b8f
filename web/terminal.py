"""Answers and mock interviews in the terminal, over the same events and the same session as the page's."""

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TextIO

from assistant.answers.answering import Answer, Done, Event, Passages, Quote, Sentence, Token, Waiting
from assistant.answers.support import CheckedSentence, Citation
from assistant.interviews.grading import Grade
from assistant.interviews.interview import AskQuestion, Effect, Finished, Phase, Report, ShowGrade, ShowReference
from assistant.interviews.questions import topic_name
from assistant.interviews.session import InterviewSession
from ingest.errors import MianpuError

HELP = "写下回答，空行结束 (blank line to send)。/skip 跳过，/show 看参考答案，/end 结束并看报告。"


def print_answer(events: Iterable[Event], out: TextIO | None) -> Answer:
    """Print an answer as it comes (``out`` None: print nothing) and its sources at the end; returns the finished answer."""
    finished: Answer | None = None
    writing = False
    for event in events:
        if isinstance(event, Done):
            finished = event.answer
        if out is None:
            continue
        if isinstance(event, Waiting) and event.ahead:
            print(f"前面还有 {event.ahead} 人 ({event.ahead} ahead of you)", file=sys.stderr)
        elif isinstance(event, Passages) and not event.result.sure:
            print("资料里的内容可能不足以回答，请对照出处核对。(May not be the whole answer: check the sources.)\n", file=out)
        elif isinstance(event, Quote):
            for sentence in event.sentences:
                quoted = "\n> ".join(sentence.text.split("\n"))
                print(f"> {quoted}{_numbers(sentence.citations)}", file=out)
            print(file=out, flush=True)
        elif isinstance(event, Token):
            writing = True
            print(event.text, end="", file=out, flush=True)
        elif isinstance(event, Sentence) and writing:
            print(_mark(event.sentence), end="", file=out, flush=True)
    if finished is None:
        raise MianpuError("the answer was stopped")
    if out is not None:
        print("\n".join(_closing(finished, writing)), file=out, flush=True)
    return finished


def _mark(sentence: CheckedSentence) -> str:
    """What stands behind a sentence: its sources, or that it has none, or the source that says otherwise."""
    if sentence.contradicts:
        return f"[≠{sentence.contradicts[0].number} 与资料不符]"
    return _numbers(sentence.citations) or "[?]"


def _numbers(citations: Iterable[Citation]) -> str:
    return "".join(f"[{citation.number}]" for citation in citations)


def _closing(answer: Answer, written: bool) -> Iterator[str]:
    if not written:
        yield answer.text
    if not answer.answered:
        return
    supported = sum(sentence.supported for sentence in answer.sentences)
    yield f"\n{len(answer.sentences)} 句中 {supported} 句有出处 ([?] 没有出处)"
    for number, hit in enumerate(answer.hits, start=1):
        place = " › ".join([hit.passage.document, *hit.passage.headings])
        yield f"[{number}] {place} 第 {hit.passage.line} 行"


class Terminal:
    """Asks on ``out``, reads lines from ``source`` until the interview is finished or the input ends."""

    def __init__(self, session: InterviewSession, source: TextIO = sys.stdin, out: TextIO = sys.stdout) -> None:
        self._session = session
        self._source = source
        self._out = out

    def run(self, effects: tuple[Effect, ...]) -> None:
        """Carry the interview through from its first effects. When the input ends early it stays saved and can be resumed."""
        self._say(HELP)
        self._show(effects)
        while self._session.state.phase is not Phase.FINISHED:
            if self._session.state.phase is Phase.GRADED:
                self._show(self._session.next())
                continue
            text = self._read()
            if text is None:
                self._say("已保存，用 mianpu interview --resume 继续。(Saved; go on with --resume.)")
                return
            self._show(self._act(text))

    def _act(self, text: str) -> tuple[Effect, ...]:
        commands: dict[str, Callable[[], tuple[Effect, ...]]] = {
            "/skip": self._session.skip,
            "/show": self._session.reveal,
            "/end": self._session.end,
        }
        if text in commands:
            return commands[text]()
        if not text:
            self._say(HELP)
            return ()
        return self._session.answer(text)

    def _read(self) -> str | None:
        """The lines up to an empty one, or a command; None at the end of the input."""
        lines: list[str] = []
        for line in self._source:
            line = line.rstrip("\n")
            if not line.strip() or (not lines and line.startswith("/")):
                return "\n".join([*lines, line]).strip()
            lines.append(line)
        return "\n".join(lines).strip() or None

    def _show(self, effects: tuple[Effect, ...]) -> None:
        for effect in effects:
            if isinstance(effect, AskQuestion):
                self._say(f"\n[{effect.number}/{effect.total}] {topic_name(effect.question.topic)}\n{effect.question.text}")
            elif isinstance(effect, ShowGrade):
                self._say("\n".join(_marks(effect.grade, self._session.state.outcomes[-1].answer)))
            elif isinstance(effect, ShowReference):
                pair = self._session.reference(effect.question.key)
                if pair is not None:
                    self._say(f"参考答案 ({pair.document}):\n{pair.answer}")
            elif isinstance(effect, Finished):
                self._say("\n".join(_report(effect.report)))

    def _say(self, text: str) -> None:
        print(text, file=self._out, flush=True)


def _marks(grade: Grade | None, answer: str) -> Iterator[str]:
    if grade is None:
        yield "这道题在资料里没有参考答案，已记下你的回答，没有评分。"
        return
    yield f"\n得分 {grade.score:.0f}"
    for marked in grade.points:
        words = "、".join(answer[start:end] for start, end in marked.matched[:4])
        yield f"  {'✓' if marked.hit else '✗'} {marked.point.text}" + (f"  ← {words}" if words and marked.hit else "")
    yield from grade.remarks


def _report(report: Report) -> Iterator[str]:
    average = "没有评分" if report.average is None else f"平均 {report.average:.0f} 分"
    yield f"\n结束：{len(report.outcomes)}/{report.total} 题，{average}"
    for outcome in report.outcomes:
        score = "—" if outcome.score is None else f"{outcome.score:.0f}"
        yield f"  {score:>3}  {outcome.question.text}"
        yield from (f"       漏了：{point}" for point in outcome.missed)
    if report.review_next:
        yield "接下来复习：" + "；".join(question.text for question in report.review_next)
