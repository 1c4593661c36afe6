# ruff: noqa: RUF001, its commas are wide
"""Chinese tables of the caption grammar.

Chinese has a verb for each way of wearing and carrying, so the verbs are part of `places`. A frame
starts with the numeral, and a pattern precedes its noun.
"""

from misc.synthetic.pedestrians.captions import Language


def _join(parts: list[str]) -> str:
    return "，".join(parts)


def _finish(text: str) -> str:
    """Merge repeated particles, which arise where two phrases meet."""
    return text.replace("的的", "的")


ON_TOP = ("上身穿着{}", "上身穿{}", "身穿{}", "身着{}", "上身是{}")
OUTSIDE = ("上身穿着{}", "身穿{}", "身着{}", "外面穿着{}", "身上套着{}")
BELOW = ("下身穿着{}", "下身穿{}", "下身是{}", "下穿{}", "腿上穿着{}")
ON_FEET = ("脚穿{}", "脚上穿着{}", "脚上是{}", "脚踩{}")
ON_HEAD = ("头戴{}", "戴着{}", "头上戴着{}")
ON_NOSE = ("戴着{}", "脸上戴着{}", "鼻梁上架着{}")
IN_HAND = ("手里拿着{}", "手上拿着{}", "手持{}", "手中拿着{}")

CHINESE = Language(
    people={
        "man": ("{}男人", "{}男子", "{}男性", "{}男士"),
        "woman": ("{}女人", "{}女子", "{}女性", "{}女士"),
        "person": ("{}行人", "{}行人", "{}路人"),
    },
    again={
        "man": ("他", "他", "他", "该男子", "这名男子"),
        "woman": ("她", "她", "她", "该女子", "这名女子"),
        "person": ("此人", "这个人", "该行人"),
    },
    builds={
        "slim": ("偏瘦的", "身材偏瘦的", "体型瘦削的", "瘦瘦的"),
        "heavy": ("微胖的", "身材偏胖的", "体型较胖的", "胖胖的"),
    },
    vague_builds={
        "slim": ("有点瘦的", "看起来偏瘦的"),
        "heavy": ("有点胖的", "看起来偏胖的"),
    },
    colours={
        "red": ("红色", "红色", "大红色", "鲜红色"),
        "orange": ("橙色", "橙色", "橘色"),
        "yellow": ("黄色", "黄色", "亮黄色"),
        "green": ("绿色", "绿色", "翠绿色"),
        "blue": ("蓝色", "蓝色", "宝蓝色"),
        "navy": ("深蓝色", "深蓝色", "藏青色", "藏蓝色"),
        "light blue": ("浅蓝色", "淡蓝色", "天蓝色"),
        "purple": ("紫色", "紫色", "紫罗兰色"),
        "pink": ("粉色", "粉红色", "粉色", "玫粉色"),
        "brown": ("棕色", "褐色", "咖啡色"),
        "beige": ("米色", "米黄色", "卡其色", "杏色"),
        "white": ("白色", "白色", "纯白色"),
        "grey": ("灰色",),
        "black": ("黑色", "黑色", "纯黑色"),
    },
    hair_colours={
        "black": ("黑色", "黑色", "乌黑的"),
        "brown": ("棕色", "栗色", "棕褐色"),
        "blonde": ("金色", "金黄色"),
        "red": ("红色", "橘红色"),
        "grey": ("灰色", "灰白色", "花白的"),
    },
    tones={
        "dark": ("深色", "深色", "暗色", "颜色较深的"),
        "light": ("浅色", "浅色", "颜色较浅的"),
        "bright": ("亮色", "颜色鲜艳的", "鲜艳的"),
    },
    nouns={
        "t-shirt": ("{}T恤", "一件{}T恤", "{}短袖", "{}短袖T恤", "一件{}短袖"),
        "shirt": ("{}衬衫", "一件{}衬衫", "{}长袖衬衫", "{}衬衣"),
        "sweater": ("{}毛衣", "一件{}毛衣", "{}针织衫", "{}套头衫"),
        "hoodie": ("{}卫衣", "一件{}连帽卫衣", "{}连帽衫"),
        "jacket": ("{}夹克", "一件{}夹克", "一件敞开的{}夹克", "{}夹克衫"),
        "coat": ("{}大衣", "一件{}大衣", "{}长款大衣", "{}风衣"),
        "tank top": ("{}背心", "一件{}背心", "{}无袖上衣", "{}无袖背心"),
        "dress": ("{}连衣裙", "一条{}连衣裙", "一袭{}连衣裙"),
        "trousers": ("{}长裤", "一条{}长裤", "{}休闲裤", "一条{}裤子"),
        "jeans": ("{}牛仔裤", "一条{}牛仔裤", "{}牛仔长裤"),
        "leggings": ("{}紧身裤", "{}打底裤", "一条{}紧身裤"),
        "shorts": ("{}短裤", "一条{}短裤", "{}休闲短裤"),
        "skirt": ("{}短裙", "一条{}短裙", "{}半身短裙", "一条及膝的{}裙子"),
        "long skirt": ("{}长裙", "一条{}长裙", "{}半身长裙"),
        "sneakers": ("{}运动鞋", "一双{}运动鞋", "{}球鞋", "{}跑鞋"),
        "leather shoes": ("{}皮鞋", "一双{}皮鞋"),
        "boots": ("{}靴子", "一双{}靴子", "{}中筒靴"),
        "sandals": ("{}凉鞋", "一双{}凉鞋"),
        "flats": ("{}平底鞋", "一双{}平底鞋", "{}单鞋"),
        "cap": ("{}鸭舌帽", "一顶{}鸭舌帽", "{}棒球帽", "一顶{}棒球帽"),
        "beanie": ("{}针织帽", "一顶{}针织帽", "{}毛线帽"),
        "sun hat": ("{}遮阳帽", "一顶{}遮阳帽", "{}宽檐帽"),
        "glasses": ("{}眼镜", "眼镜", "一副{}眼镜"),
        "sunglasses": ("{}墨镜", "墨镜", "一副{}太阳镜"),
        "scarf": ("{}围巾", "一条{}围巾"),
        "backpack": ("{}双肩包", "一个{}双肩包", "{}背包", "{}双肩背包"),
        "shoulder bag": ("{}单肩包", "一个{}单肩包", "{}斜挎包", "{}挎包"),
        "handbag": ("{}手提包", "一个{}手提包", "{}手包", "一个{}小提包"),
        "phone": ("{}手机", "一部{}手机", "一部{}智能手机"),
        "bottle": ("{}水瓶", "一个{}水瓶", "一个{}瓶子"),
        "book": ("一本{}的书", "{}书本", "一本{}书籍"),
        "cup": ("{}杯子", "一个{}杯子", "{}水杯"),
        "flowers": ("一束{}鲜花", "{}鲜花", "一束{}花朵"),
        "umbrella": ("{}雨伞", "一把{}雨伞", "一把{}的伞"),
        "suitcase": ("{}行李箱", "一个{}行李箱", "{}拉杆箱", "一个{}旅行箱"),
        "shopping bag": ("{}购物袋", "一个{}购物袋", "一个{}手提袋"),
        "short": ("留着{}短发", "留着一头{}短发", "有着{}短发"),
        "medium": ("留着{}中长发", "留着一头{}齐肩发", "留着{}齐肩发"),
        "long": ("留着{}长发", "留着一头{}长发", "披着{}长发", "留着{}披肩长发"),
        "ponytail": ("扎着{}马尾", "扎着{}马尾辫", "梳着{}马尾辫"),
        "bun": ("扎着{}丸子头", "梳着{}发髻", "盘着{}发髻"),
        "bald": ("留着光头", "剃着光头", "剃了光头"),
    },
    vague_nouns={
        **dict.fromkeys(
            ("t-shirt", "shirt", "sweater", "hoodie", "tank top"), ("{}上衣", "一件{}上衣")
        ),
        **dict.fromkeys(("jacket", "coat"), ("{}外套", "一件{}外套", "{}外衣")),
        "dress": ("{}衣服", "一身{}衣服", "{}衣裙"),
        **dict.fromkeys(("trousers", "jeans", "leggings"), ("{}裤子", "一条{}裤子", "{}长裤")),
        "shorts": ("{}短裤", "一条{}短裤"),
        **dict.fromkeys(("skirt", "long skirt"), ("{}裙子", "一条{}裙子")),
        **dict.fromkeys(
            ("sneakers", "leather shoes", "boots", "sandals", "flats"), ("{}鞋子", "一双{}鞋子")
        ),
        **dict.fromkeys(("cap", "beanie", "sun hat"), ("一顶{}帽子", "一顶帽子", "帽子")),
        **dict.fromkeys(("glasses", "sunglasses"), ("眼镜", "一副眼镜")),
        "scarf": ("围巾", "一条{}围巾"),
        **dict.fromkeys(("backpack", "shoulder bag", "handbag"), ("一个包", "一个{}包")),
        **dict.fromkeys(
            ("phone", "bottle", "book", "cup", "flowers"), ("一个小物件", "一样小东西")
        ),
        "umbrella": ("一把伞", "伞"),
        "suitcase": ("行李", "一件{}行李"),
        "shopping bag": ("一个袋子", "买的东西"),
        "short": ("留着短发", "头发不长"),
        "medium": ("头发不长不短", "留着中等长度的头发"),
        "long": ("留着长发", "头发很长"),
        **dict.fromkeys(("ponytail", "bun"), ("头发扎了起来", "头发束在脑后")),
        "bald": ("头发很少", "几乎没有头发"),
    },
    patterns={
        "plain": (("{colour}", ""), ("{colour}", ""), ("{colour}的", "")),
        "striped": (
            ("{colour}和{accent}相间的条纹", ""),
            ("带有{accent}条纹的{colour}", ""),
            ("{colour}底{accent}条纹的", ""),
        ),
        "checked": (
            ("{colour}和{accent}相间的格子", ""),
            ("带有{accent}格纹的{colour}", ""),
            ("{colour}底{accent}格子的", ""),
        ),
        "dotted": (
            ("带有{accent}圆点的{colour}", ""),
            ("带{accent}波点的{colour}", ""),
            ("{colour}底{accent}波点的", ""),
        ),
        "print": (
            ("印有{accent}图案的{colour}", ""),
            ("带{accent}印花的{colour}", ""),
            ("印着{accent}标志的{colour}", ""),
        ),
    },
    vague_pattern=(("带花纹的{colour}", ""), ("有花纹的", ""), ("带图案的", "")),
    layers=(
        "外穿{upper}，内搭{inner}",
        "身穿{upper}，里面是{inner}",
        "上身穿着{inner}，外面套着{upper}",
    ),
    places={
        **dict.fromkeys(("t-shirt", "shirt", "sweater", "hoodie", "tank top"), ON_TOP),
        **dict.fromkeys(("jacket", "coat"), OUTSIDE),
        "dress": ("身穿{}", "穿着{}", "身着{}"),
        **dict.fromkeys(("trousers", "jeans", "leggings", "shorts", "skirt", "long skirt"), BELOW),
        **dict.fromkeys(("sneakers", "leather shoes", "boots", "sandals", "flats"), ON_FEET),
        **dict.fromkeys(("cap", "beanie", "sun hat"), ON_HEAD),
        **dict.fromkeys(("glasses", "sunglasses"), ON_NOSE),
        "scarf": ("围着{}", "脖子上围着{}", "颈上系着{}"),
        "backpack": ("背着{}", "背后背着{}", "身后背着{}"),
        "shoulder bag": ("挎着{}", "背着{}", "身上挎着{}"),
        "handbag": ("拎着{}", "提着{}", "左手提着{}", "左手拎着{}"),
        **dict.fromkeys(("phone", "bottle", "book", "cup"), IN_HAND),
        "flowers": (*IN_HAND, "捧着{}"),
        "umbrella": ("打着{}", "撑着{}", "举着{}"),
        "suitcase": ("拉着{}", "拖着{}"),
        "shopping bag": ("提着{}", "拎着{}", "手里拎着{}"),
    },
    verbs={
        "a": ("一个", "一个", "一名"),
        "this": ("这个", "图中的", "画面里的", "照片中的"),
        "shows": ("图中是", "图片里有", "画面中有", "照片里是"),
    },
    moves={
        (True, "front"): ("正朝镜头走来", "正面向镜头走来", "正迎面走来"),
        (True, "back"): ("正背对镜头走远", "背对着镜头往前走", "正向远处走去"),
        (True, "left"): ("正在向左走", "正朝画面左侧走去", "正往左边走"),
        (True, "right"): ("正在向右走", "正朝画面右侧走去", "正往右边走"),
        (False, "front"): ("面向镜头站着", "正对镜头站立"),
        (False, "back"): ("背对镜头站着", "背朝镜头站立"),
        (False, "left"): ("面朝左侧站着", "侧身站着，面向左边"),
        (False, "right"): ("面朝右侧站着", "侧身站着，面向右边"),
    },
    neutral=("出现在画面中", "出现在镜头里", "出现在图片中"),
    frames=(
        ("{a}{person}", "，{have}", "，{wear}", "，{carry}", "，{moves}", "。"),
        ("{a}{main}的{person}", "，{extras}", "，{carry}", "，{have}", "，{moves}", "。"),
        ("{a}{have}的{person}", "，{wear}", "，{carry}", "。{they}{moves}", "。"),
        ("{shows}{a}{person}", "，{they}{wear}", "，{carry}", "。{they}{have}", "，{moves}", "。"),
        ("{a}{person}{acts}", "，{they}{wear}", "，{carry}", "。{they}{have}", "。"),
        ("{a}{carry}的{person}", "{acts}", "，{wear}", "，{have}", "。"),
        ("{this}{person}{main}", "，{extras}", "。{they}{have}", "，{carry}", "，{moves}", "。"),
        ("{shows}{a}{moves}的{person}", "，{main}", "，{extras}", "，{have}", "，{carry}", "。"),
    ),
    join=_join,
    finish=_finish,
    between="",
)
