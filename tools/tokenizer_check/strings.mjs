// Seeded test strings: pieces of the kinds on which tokenizers differ, joined at random.

// SplitMix64 in 32-bit halves would be slower; this generator (mulberry32) only has to be seeded.
export function randomSource(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const words = ('the of and to in is that it for was on are as with his they at be this from have or by one had not but what all ' +
  'were when we there can an your which their said if do will each about how up out them then she many some so these would other ' +
  'internationalization Straße naïve café façade Ελληνικά σίγμας Привет мир สวัสดี नमस्ते שלום مرحبا გამარჯობა Việt İstanbul ǅ ﬁne ' +
  'CamelCaseWord snake_case_word SCREAMING_CASE x86_64 HTTPServer iPhone15Pro').split(' ');
const code = ['for (int i = 0; i < n; ++i) {\n    sum += a[i];\n}\n', 'def f(x):\n\treturn x**2\n', '<div class="a">&nbsp;</div>',
  'SELECT * FROM t WHERE id=42;', '#include <vector>\r\n', '/* comment */', "it's", 'x->y::z', '0xDEADBEEF', '1e-9', 'a\\nb', '${HOME}/bin',
  'https://example.org/a?b=c&d=%20#e', 'foo@bar.com', '```json\n{"a": [1, 2.5, null]}\n```', '--flag=value', '!=', '===', '/////', '......'];
const emoji = ['😀', '👩‍👩‍👧‍👦', '🏳️‍🌈', '👍🏽', '🇩🇪', '❤️', '☃', '✈️', '1️⃣', '𝒳', '𝔘𝔫𝔦', '🀄', '\u{1F9D1}\u200D\u{1F680}'];
const cjk = ['你好，世界', '日本語のテキスト', 'カタカナ', '한국어 텍스트', '漢字', '。', '「引用」', '１２３', '㍿', '々', '〇', '豈', '\u{20000}', 'ㄅㄆ'];
const space = [' ', '  ', '   ', '\t', '\n', '\n\n', '\r\n', ' \n ', '\u00a0', '\u3000', '\u2009', '\u2028', '\u0085', '\u200b', '\u180e',
  '\ufeff', '\v', '\f', '        ', '\t\t\t', ' \t ', '\n   \n'];
const digits = ['0', '7', '12', '345', '2024', '12345', '3.14159', '1,000,000', '٣٤٥', '१२३', '½', '²', 'Ⅷ', '①', '000000000000', '𝟘𝟙'];
const contractions = ["'s", "'S", "'t", "'T", "'re", "'RE", "'ve", "'Ve", "'m", "'ll", "'LL", "'d", "'D", '’s', "'ſ", "don't", "I'M", "we'Re",
  "o'clock", "'", "''", "'x"];
const marks = ['e\u0301', 'a\u0300\u0323', 'n\u0303', 'ｶ\u3099', 'か\u3099', '\u0301', 'क\u093c', 'ก\u0e33', '\u1100\u1161\u11a8', '가\u11a8',
  'x\u0338', '\u212b', '\u03d3', '\u0344', 's\u0323\u0307', 'q\u0307\u0323', '\u0f73', '\ufb1d', '\u2126'];
const controls = ['\u0000', '\u0001', '\u0007', '\b', '\u001b[0m', '\u007f', '\u0080', '\u009f', '\u200e', '\u202e', '\ufffd', '\uffff', '\u{10ffff}',
  '\ue000', '\u00ad', '\u2060'];
const special = ['<s>', '</s>', '<unk>', '<|endoftext|>', '<|im_start|>', '<|im_end|>', '<|start|>', '<|message|>', '<|channel|>', '<|return|>',
  '<think>', '</think>', '<tool_call>', '<｜begin▁of▁sentence｜>', '<｜User｜>', '<｜Assistant｜>', '<｜tool▁calls▁begin｜>', '<|im_start', '<|', '|>',
  '<0x0A>', '<0xE2>', '▁', '▁▁', 'Ġ', 'Ċ', '< s >', '<|endoftext|', '<|fim_prefix|>', '<|vision_start|>'];
const kinds = [words, words, words, code, emoji, cjk, space, space, digits, contractions, marks, controls, special];

function anyCharacter(random) {
  for (;;) {
    const range = [0x80, 0x800, 0x3000, 0xa000, 0x10000, 0x20000, 0x110000][Math.floor(random() * 7)];
    const code = Math.floor(random() * range);
    if (code < 0xd800 || code > 0xdfff) return String.fromCodePoint(code);
  }
}

function piece(random) {
  if (random() < 0.08) return anyCharacter(random);
  const kind = kinds[Math.floor(random() * kinds.length)];
  const text = kind[Math.floor(random() * kind.length)];
  return random() < 0.05 ? text.repeat(1 + Math.floor(random() * 20)) : text;
}

export function makeStrings(count, seed) {
  const random = randomSource(seed);
  const strings = [];
  for (let i = 0; i < count; ++i) {
    const length = Math.floor(random() ** 2 * 40);
    const glue = random() < 0.5 ? ' ' : '';
    const pieces = [];
    for (let k = 0; k < length; ++k) pieces.push(piece(random));
    strings.push(pieces.join(glue));
  }
  return strings;
}
