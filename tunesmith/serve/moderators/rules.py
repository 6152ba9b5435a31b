"""rules: plain patterns of English, each with the strength of what it says about a text."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence

from tunesmith.serve.moderation import CATEGORIES, Moderator

__all__ = ["Rules"]

_WINDOW, _OVERLAP = 4000, 300

_RUDE = (
    r"(?:arse|ass)holes?|bastards?|bitch(?:es)?|cunts?|dickheads?|motherfuckers?|pricks?|sluts?|twats?|wankers?|whores?"
)
_INSULT = rf"(?:{_RUDE}|idiots?|morons?|imbeciles?|losers?|scum|trash|worthless|pathetic|stupid|disgusting|ugly)"
_YOU = r"\b(?:you(?:'re| are|r)?|u r)\b"
_GROUP = (
    r"(?:jews?|muslims?|christians?|hindus?|sikhs?|buddhists?|immigrants?|refugees?|migrants?|foreigners|blacks|whites|"
    r"asians|africans|arabs|mexicans|indians|gypsies|roma|gays?|lesbians?|trans(?:gender)?(?: people)?|women|"
    r"disabled people|black people|white people|gay people)"
)
_LESS = r"(?:vermin|subhumans?|parasites?|animals|filth|inferior|a plague|cockroaches|rats|a disease|criminals|rapists)"
_KILL = (
    r"(?:kill(?:ed|ing)?|murder(?:ed|ing)?|shoot(?:ing)?|shot|stab(?:bed|bing)?|strangled?|behead(?:ed|ing)?|massacre)"
)
_END = r"(?:exterminated?|eradicated?|gassed|killed|shot|wiped out|burned|lynched|deported to camps)"
_HURT = r"(?:kill|murder|shoot|stab|hurt|beat|strangle|burn|rape|destroy|break)"
_ME = r"(?:myself|my life)"
_SELF = r"(?:myself|yourself)"
_HOW = (
    r"(?:how (?:to|do i|can i|would i|do you|can you)|steps to|instructions (?:for|to)|guide to|ways? to|teach me to)"
)
_WEAPON = (
    r"(?:pipe ?bombs?|bombs?|explosives?|nerve agents?|sarin|napalm|molotov(?: cocktails?)?|ghost guns?|silencers?)"
)
_DRUGS = r"(?:meth(?:amphetamine)?|heroin|cocaine|crack|fentanyl|mdma|lsd)"
_CRIME = (
    r"(?:shoplift|launder (?:the )?money|hotwire a car|pick a lock|hack into|steal (?:a|an|someone'?s|credit)|"
    r"forge (?:a|an)|counterfeit|evade taxes|break into|phish|make (?:a )?fake (?:id|passport)s?|cook meth|"
    r"bypass (?:the )?alarm)"
)
_SEX = (
    r"(?:blow ?jobs?|hand ?jobs?|cum(?:ming|shot)?|masturbat\w+|orgasms?|porn(?:o|ography)?|hentai|naked and|"
    r"erotic(?:a)?|horny|fuck me|fucking (?:her|him)|suck(?:ing|ed)? (?:his|my|your) (?:cock|dick)|"
    r"(?:hard|wet) (?:cock|pussy)|explicit sex|have sex with|sex scene)"
)
_CHILD = (
    r"(?:child(?:ren)?|kids?|minors?|under-?age|toddlers?|preteens?|\b(?:[1-9]|1[0-7])[- ]years?[- ]old|school ?girl)"
)
_GORE = (
    r"(?:gore|gory|dismember\w*|disembowel\w*|entrails|guts (?:spill|hang)\w*|severed (?:head|limb|arm|leg)s?|"
    r"mutilat\w+|decapitat\w+|blood (?:spray|gush|splatter|pour)\w*|brains? splatter\w*|flayed)"
)

# (strength, pattern): the strength says how sure a person would be who reads nothing but the hit.
_RULES: Mapping[str, tuple[tuple[float, str], ...]] = {
    "harassment": ((0.9, rf"{_YOU}(?: \w+){{0,4}} {_INSULT}\b"), (0.6, rf"\b{_INSULT} like you\b"), (0.3, _RUDE)),
    "harassment/threatening": (
        (0.9, rf"\b(?:i(?:'ll| will|'m going to| am going to)|we(?:'ll| will)) {_HURT} (?:you|him|her|them|your)\b"),
        (0.7, r"\byou (?:will|are going to|deserve to|should) (?:die|suffer|bleed)\b"),
    ),
    "hate": (
        (0.95, rf"\b{_GROUP} (?:are|is) (?:all |nothing but |just |like )*{_LESS}\b"),
        (0.8, rf"\b(?:i hate|we hate|death to|get rid of|no more) (?:all |the |those |these )*{_GROUP}\b"),
    ),
    "hate/threatening": (
        (0.95, rf"\b(?:kill|shoot|exterminate|gas|burn|lynch) (?:all |the |those |these )*{_GROUP}\b"),
        (0.95, rf"\b{_GROUP} (?:should|must|need to|deserve to) (?:all )?(?:be {_END}|die|burn|hang)\b"),
    ),
    "illicit": (
        (0.85, rf"\b{_HOW} (?:\w+ )?{_CRIME}"),
        (0.85, rf"\b{_HOW} (?:make|cook|synthesi[sz]e|buy|smuggle|sell) (?:\w+ )?{_DRUGS}\b"),
        (0.85, rf"\b{_HOW} (?:\w+ ){{0,3}}{_WEAPON}\b"),
    ),
    "illicit/violent": (
        (0.9, rf"\b{_HOW} (?:make|build|assemble|buy|get|plant) (?:\w+ ){{0,2}}{_WEAPON}\b"),
        (0.9, rf"\b{_HOW} (?:{_KILL}|poison|kidnap) (?:someone|a person|people|my|him|her|them|somebody)\b"),
    ),
    "self-harm": (
        (0.9, rf"\b(?:kill|hurt|harm|cut|cutting|killing|hurting|harming|end|ending|starve) {_ME}\b"),
        (0.7, r"\b(?:suicide|suicidal|self[- ]harm|want to die|better off dead|anorexi\w+ tips|pro-?ana)\b"),
    ),
    "self-harm/intent": (
        (0.95, rf"\bi (?:want|plan|am going|'m going|will|have decided|need) (?:to )?(?:kill|end|cut) {_ME}"),
        (0.9, r"\bi(?:'m| am)? (?:want(?:ing)? to die|going to commit suicide|(?:feel )?suicidal|better off dead)\b"),
    ),
    "self-harm/instructions": (
        (0.9, rf"\b{_HOW} (?:\w+ )?(?:kill {_SELF}|commit suicide|cut {_SELF}|overdose|self[- ]harm)"),
        (0.9, rf"\b(?:painless|easiest|best|quickest) (?:way|method)s? (?:to die|of suicide|to kill {_SELF})\b"),
    ),
    "sexual": ((0.85, rf"\b{_SEX}\b"),),
    "sexual/minors": (
        (0.95, rf"\b{_CHILD}\b.{{0,60}}\b{_SEX}\b"),
        (0.95, rf"\b{_SEX}\b.{{0,60}}\b{_CHILD}\b"),
    ),
    "violence": (
        (0.7, rf"\b(?:{_KILL}) (?:him|her|them|you|people|everyone|someone|a man|a woman|the \w+)\b"),
        (0.6, rf"\b(?:he|she|they|i) (?:{_KILL})\b"),
        (0.7, rf"\b{_GORE}\b"),
    ),
    "violence/graphic": ((0.85, rf"\b{_GORE}\b"),),
}  # fmt: skip


class Rules(Moderator):
    """The strength of the strongest rule that a text meets, in every category.

    Not a probability, and no reader: what is said in other words, other languages or between the lines is missed, and
    a quotation is flagged like the thing itself. A threat or an instruction counts in its wider category too.
    """

    async def scores(self, texts: Sequence[str]) -> list[Mapping[str, float]]:
        """Every category for each text."""
        patterns = {
            category: [(strength, re.compile(pattern, re.IGNORECASE | re.DOTALL)) for strength, pattern in rules]
            for category, rules in _RULES.items()
        }
        return [_with_wider(await _strongest(text, patterns)) for text in texts]


async def _strongest(text: str, patterns: Mapping[str, list[tuple[float, re.Pattern[str]]]]) -> dict[str, float]:
    """In windows that overlap by more than any rule spans, so that a long text holds nobody up."""
    plain = " ".join(text.replace("\u2019", "'").split())
    found = dict.fromkeys(CATEGORIES, 0.0)
    for start in range(0, max(1, len(plain)), _WINDOW - _OVERLAP):
        window = plain[start : start + _WINDOW]
        for category, rules in patterns.items():
            hits = (strength for strength, pattern in rules if strength > found[category] and pattern.search(window))
            found[category] = max(found[category], *hits, 0.0)
        await asyncio.sleep(0)
    return found


def _with_wider(scores: dict[str, float]) -> dict[str, float]:
    """`hate/threatening` is hate as well: a wider category scores at least as much as its parts."""
    return {
        category: max(score, *(scores[other] for other in CATEGORIES if other.startswith(f"{category}/")), 0.0)
        for category, score in scores.items()
    }
