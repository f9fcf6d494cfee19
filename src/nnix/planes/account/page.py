"""An invoice for people: rows for a terminal, and one HTML page to be printed, in Chinese and English side by side.

The page needs nothing else, prints on A4, and carries what proves it: the digests of invoice and settlement, and under each line the records that it
opens to. Amounts are shown in yuan with two places, from whole fen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

from nnix.planes.account.rate import DEVICE_HOUR, Line, LineKind, Part
from nnix.planes.account.settle import Statement
from nnix.planes.members.kinds import Title

WORDS: dict[str, tuple[str, str]] = {
    "invoice": ("invoice", "账单"),
    "use": ("use", "使用"),
    "reserved": ("reserved and not used", "预留未用"),
    "outside": ("outside its hours, not charged", "时段外(不计费)"),
    "excess": ("beyond what was bought, not charged", "超量(不计费)"),
    "credit": ("credit for an outage", "故障抵扣"),
    "transfer": ("transfer of data", "数据传输"),
    "buyer-fee": ("exchange fee", "交易服务费"),
    "seller-fee": ("exchange fee", "交易服务费"),
    "subsidy": ("subsidy", "补贴"),
    "port": ("port", "端口"),
    "circuit": ("circuit", "专线"),
    "service-credit": ("service credit", "服务抵扣"),
    "ran": ("ran", "运行"),
    "finished": ("finished", "完成"),
    "failed": ("failed", "作业失败"),
    "cancelled": ("cancelled", "用户取消"),
    "resized": ("resized", "调整规模"),
    "killed": ("killed", "强制终止"),
    "preempted": ("preempted", "被抢占"),
    "node-lost": ("node lost", "节点故障"),
    "meter-lost": ("meter lost", "计量中断"),
    "unused": ("nobody ran on it", "无作业运行"),
    "late-record": ("taken back: records came late", "迟到记录,冲回"),
    "pays": ("to pay", "应付"),
    "gets": ("to receive", "应收"),
    "balance": ("balance", "结余"),
    "line": ("line", "项目"),
    "about": ("about", "对象"),
    "hour": ("hour or month (UTC)", "时段 (UTC)"),
    "cause": ("cause", "原因"),
    "quantity": ("quantity", "用量"),
    "price": ("price", "单价"),
    "amount": ("amount, yuan", "金额(元)"),
    "records": ("records", "计量记录"),
    "until": ("until", "截至"),
    "digest": ("digest (SHA-256)", "摘要 (SHA-256)"),
    "settlement": ("settlement", "结算"),
}


def said(word: str) -> str:
    """A word in both languages; one that is not in the table stands for itself."""
    english, chinese = WORDS.get(word, (word, ""))
    return f"{english} {chinese}".strip()


def yuan(fen: int) -> str:
    """`-1234` → `-12.34`."""
    whole, rest = divmod(abs(fen), 100)
    return f"{'-' if fen < 0 else ''}{whole:,}.{rest:02}"


def quantity(line: Line) -> str:
    """In seconds of a device, or hours of a port. Exact to the thousandth; nothing for a line without."""
    if not line.unit:
        return ""
    device = line.unit == DEVICE_HOUR
    seconds, rest = divmod(line.quantity, 10**6 if device else 1000)
    return f"{seconds}.{rest:0{6 if device else 3}}".rstrip("0").rstrip(".") + (" device-s" if device else " s")


def price(line: Line) -> str:
    if not line.unit:
        return ""
    per = "device-h" if line.unit == DEVICE_HOUR else "month"
    return f"{yuan(line.price)}/{per}{f' × {line.percent} %' if line.percent != 100 else ''}"


@dataclass(frozen=True, slots=True)
class Row:
    """A line as people read it. `fen` is above zero where the member pays."""

    line: Line
    fen: int

    @property
    def cells(self) -> tuple[str, ...]:
        each = self.line
        about = each.about.partition("/")[2] + (f" {each.job}" if each.job else "")
        what = "gaps in" if each.kind is LineKind.RESERVED else "of"
        opens = f"{len(each.parts)} {what} {each.chain}" if each.parts else f"{len(each.of)} lines" if each.of else ""
        return said(each.kind), about, each.hour, said(each.cause) if each.cause else "", quantity(each), price(each), yuan(self.fen), opens


COLUMNS = ("line", "about", "hour", "cause", "quantity", "price", "amount", "records")


def rows(statement: Statement) -> Iterator[Row]:
    """What the member pays, then what it gets (below zero)."""
    yield from (Row(each, each.amount) for each in statement.pays)
    yield from (Row(each, -each.amount) for each in statement.gets)


PAGE = """<!doctype html>
<html lang="zh"><head><meta charset="utf-8"><title>{title}</title>
<style>
@page {{ size: A4 landscape; margin: 14mm }}
body {{ font: 13px/1.45 'Noto Sans', 'Noto Sans CJK SC', 'DejaVu Sans', sans-serif; margin: 2rem auto; max-width: 80rem; padding: 0 1rem; color: #222 }}
table {{ border-collapse: collapse; margin: 1rem 0; width: 100% }} td, th {{ padding: .2rem .6rem; border-bottom: 1px solid #ddd; text-align: left }}
tr {{ break-inside: avoid }} th.n, td.n {{ text-align: right }} td.n {{ font-variant-numeric: tabular-nums; white-space: nowrap }}
summary {{ cursor: pointer; white-space: nowrap }} code, .records {{ font: 11px/1.4 'DejaVu Sans Mono', monospace; overflow-wrap: anywhere }}
</style></head><body><h1>{heading}</h1>{body}</body></html>
"""


def html(statement: Statement, member: Title, exchange: Title) -> str:
    """The page. The same statement gives the same bytes."""
    names = " ".join(filter(None, (member.en, member.zh)))
    title = f"{said('invoice')} {statement.name}"
    head = "".join(f"<th{_aligned(index)}>{escape(said(each))}</th>" for index, each in enumerate(COLUMNS))
    body = "".join(_html_row(each) for each in rows(statement))
    sums = (("pays", statement.owes), ("gets", statement.owed), ("balance", statement.owes - statement.owed))
    foot = "".join(
        f'<tr><th colspan="6">{escape(said(word))}</th><td class="n"><b>{yuan(fen)}</b></td><td></td></tr>' for word, fen in sums
    )
    facts = (
        f"<p>{escape(' '.join(filter(None, (exchange.en, exchange.zh))))} → <b>{escape(names)}</b><br>"
        f"{escape(said('until'))} {statement.until}, {escape(said('settlement'))} {statement.settlement}</p>"
    )
    proof = (
        f"<p>{escape(said('digest'))}<br><code>{escape(said('invoice'))} {statement.digest}<br>"
        f"{escape(said('settlement'))} {statement.settlement_digest}</code></p>"
    )
    return PAGE.format(title=escape(title), heading=escape(title), body=f"{facts}<table><tr>{head}</tr>{body}{foot}</table>{proof}")


def _aligned(column: int) -> str:
    return ' class="n"' if COLUMNS[column] in ("quantity", "price", "amount") else ""


def _html_row(row: Row) -> str:
    cells = list(row.cells)
    shown = "".join(f"<td{_aligned(index)}>{escape(each)}</td>" for index, each in enumerate(cells[:-1]))
    opened = "<br>".join((*map(escape, _opened(row.line.parts)), *map(escape, row.line.of)))
    records = f'<details><summary>{escape(cells[-1])}</summary><div class="records">{opened}</div></details>' if opened else ""
    return f"<tr>{shown}<td>{records}</td></tr>"


def _opened(parts: Iterable[Part]) -> Iterator[str]:
    for each in parts:
        yield f"{each.seq} {_moment(each.from_ms)} – {_moment(each.to_ms)} {each.quantity} {each.digest[:16]}"


def _moment(ms: int) -> str:
    """`2026-11-26 08:00:00.000`, UTC; by whole numbers, since a float loses milliseconds in a far year."""
    return f"{datetime.fromtimestamp(ms // 1000, UTC):%Y-%m-%d %H:%M:%S}.{ms % 1000:03}"
