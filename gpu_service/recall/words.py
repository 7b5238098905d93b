"""Owns the words that say little by themselves, and those that announce a change. Data only.

Words that mean something else in another of the languages (the German `die`, the French `son`) are left
out: how often a chat uses a word is weighed anyway.
"""

import re

_ENGLISH, _GERMAN, _FRENCH, _SOUTHERN, _RUSSIAN, _WEAK = (
    """
    a an the and or but if of at by for with about to from in on is are was were be been being am do does
    did doing have has had having i you he she it we they me him her us them my your his its our their
    mine yours this that these those as so than too very can could will would shall should may might must
    not no nor there here what which who whom whose when where why how also just please ok okay
    s t d ll re ve m don didn doesn isn wasn weren aren haven hasn hadn won wouldn couldn shouldn
    """,
    """
    der das den dem des ein eine einen einem einer und oder aber ist sind bin war waren hatte habe haben
    ich du er sie es wir ihr mich mir dich dir mein meine meinen meinem meiner dein deine sein seine unser
    wer wie wo wann warum welche welcher welches nicht kein keine mit von zu zum zur im auf fur auch noch
    """,
    """
    le la les un une des du de et ou mais est sont suis je tu il elle nous vous ils elles mon ma mes ton ta
    tes sa ses notre votre leur que qui quoi quel quelle quels quelles quand comment pourquoi ne pas
    dans avec au aux ce cette ces ai as ont etait
    """,
    """
    el los las una unos y o pero es son soy yo ella mi mis tu tus su sus que quien cual cuando donde como
    por para con en del al se lo no ha he os um uma e ou mas eu meu minha seu sua quem qual quando onde
    nao em da na il gli di che chi dove mio mia sono per ho hai
    """,
    """
    и в во не что он на я с со как а то все она так его но да ты к у же вы за бы по ее мне было вот от
    меня еще о из ему когда уже для вас ни мы мой моя мое мои моего моей моем кто где какой какая какие
    сколько ли это был была были есть
    """,
    """
    kind type sort mention describe recent recently during after before many much long like get got go went
    going make made take took say said tell told talk up down out some any other another new thing way time
    day year month week start started one two first last ever current again still back well good great
    really know think want need feel plan happen give gave come came see look name number lot different
    because since between while both each most more only same over under into through use used using show
    decide involve part specific certain remember remind called call discuss
    """,
)
"""Spanish, Portuguese and Italian share theirs."""

STOP = frozenset(
    word for words in (_ENGLISH, _GERMAN, _FRENCH, _SOUTHERN, _RUSSIAN) for word in words.split()
)
"""Never indexed and never asked for; without accents, as terms are."""

WEAK = frozenset(_WEAK.split())
"""English words of any question: they count half, whether a message has them or not."""

QUESTIONS = re.compile(
    # Chinese and Japanese: what a question or a sentence is built with, whatever it is about.
    "什么|怎么|怎样|哪里|哪儿|哪个|哪|谁|几|多少|多大|为什么|是不是|有没有|我们|你们|他们|我|你|他|她|它|"
    "的|了|是|吗|呢|吧|在|有|和|也|都|就|这|那|个|请|说过|告诉|记得|"
    "何時|何|誰|私|です|ます|でした|ました|ですか|どこ|いつ|どれ|どの|なに|なん|から|まで|"
    "[はがをにでとのもかへやよねぁ-ぉっゃゅょ]|"
    # Thai
    "อะไร|ที่ไหน|ไหน|เมื่อไหร่|เมื่อไร|ทำไม|อย่างไร|ยังไง|ใคร|เท่าไหร่|เท่าไร|กี่|"
    "ฉัน|ผม|คุณ|ของ|ที่|เป็น|คือ|และ|ครับ|ค่ะ|คะ|ว่า|ไหม|มั้ย|จะ|ได้|ให้|"
    # Korean endings stay: its words are spaced.
    "뭐|무엇"
)
"""In scripts without spaces: where a run of characters is broken, as a space would break it."""

_CHANGES_SPACED = """
    now | actually | no longer | anymore | any more | instead | moved | change | changed | changes | switch
    | switched | correction | update | updated | from now on | cancelled | canceled | postponed | renamed
    | rescheduled | replace | replaced | upgraded | downgraded | migrated | rather than | in fact
    | scratch that | used to | turns out
    | jetzt | nicht mehr | stattdessen | statt | doch | inzwischen | mittlerweile | verschoben | geändert
    | umgezogen
    | maintenant | désormais | finalement | en fait | au lieu | changé | reporté
    | ahora | ya no | en realidad | en vez | en lugar | cambió | cambiaron | cambié | cambiado | agora
    | na verdade | adesso | invece
    | теперь | больше не | вместо | передумал | передумала | переехал | переехала | изменил | изменила
    | изменилось | перенес | перенесли
    | 바꿨어요 | 이제 | 대신
"""
_CHANGES_UNSPACED = """
    改 | 换 | 搬家 | 不再 | 现在 | 其实 | 取消
    | 変更 | 変わ | 変え | 今は | やっぱり | 引っ越
    | เปลี่ยน | ตอนนี้ | ย้าย | 바뀌
"""

CHANGES = (
    *(f" {words.strip()} " for words in _CHANGES_SPACED.split("|")),
    *(words.strip() for words in _CHANGES_UNSPACED.split("|")),
)
"""What a message says that takes back one before it: in lower case, without signs, one space between
words."""
