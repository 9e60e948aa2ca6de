// Small tokenizers with every step we support, made from tiny-moe's vocabulary: what no real file of
// the four has (added-token flags, split behaviours, Metaspace, normalisers) meets the reference too.
const regex = (pattern) => ({ Regex: pattern });
const string = (pattern) => ({ String: pattern });
const added = (id, content, flags = {}) => ({
  id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true, ...flags,
});
const sequence = (key, ...steps) => ({ type: 'Sequence', [key]: steps });
const byteLevel = (prefix, useRegex) => ({ type: 'ByteLevel', add_prefix_space: prefix, trim_offsets: true, use_regex: useRegex });
const metaspace = (scheme, split) => ({ type: 'Metaspace', replacement: '▁', prepend_scheme: scheme, split });
const bytes = (...steps) => sequence('pretokenizers', ...steps, byteLevel(false, false));

export function makeVariants(base, llama) {
  const variant = (changes) => JSON.stringify({ ...base, ...changes });
  // The reference numbers tokens that its vocabulary lacks itself, in order.
  const numbered = (contents, flags) => {
    let next = Object.keys(base.model.vocab).length;
    return contents.map((content) => added(base.model.vocab[content] ?? next++, content, flags));
  };
  const variants = [];
  for (const behavior of ['Removed', 'Isolated', 'MergedWithPrevious', 'MergedWithNext', 'Contiguous']) {
    for (const invert of [false, true]) {
      for (const pattern of [regex('\\s'), regex('\\w+'), regex('[^\\p{L}]{2,}|\\h'), string('e'), regex('x*'), regex('\\b')]) {
        variants.push([`Split ${Object.values(pattern)[0]} ${behavior} ${invert}`,
          variant({ pre_tokenizer: bytes({ type: 'Split', pattern, behavior, invert }) })]);
      }
    }
    variants.push([`Punctuation ${behavior}`, variant({ pre_tokenizer: bytes({ type: 'Punctuation', behavior }) })]);
  }
  for (const type of ['Whitespace', 'WhitespaceSplit']) variants.push([type, variant({ pre_tokenizer: bytes({ type }) })]);
  for (const individual_digits of [false, true]) {
    variants.push([`Digits ${individual_digits}`, variant({ pre_tokenizer: bytes({ type: 'Digits', individual_digits }) })]);
  }
  variants.push(['ByteLevel prefix', variant({ pre_tokenizer: byteLevel(true, true) })]);
  for (const normalizer of [{ type: 'NFC' }, { type: 'NFD' }, { type: 'NFKC' }, { type: 'NFKD' }, { type: 'Lowercase' },
    { type: 'Strip', strip_left: true, strip_right: false }, { type: 'Strip', strip_left: false, strip_right: true },
    { type: 'Prepend', prepend: 'x ' }, { type: 'Replace', pattern: regex('\\s+'), content: ' ' },
    sequence('normalizers', { type: 'NFKD' }, { type: 'Replace', pattern: string('e'), content: '' }, { type: 'Lowercase' })]) {
    variants.push([`normalizer ${JSON.stringify(normalizer)}`, variant({ normalizer })]);
  }
  for (const flags of [{}, { lstrip: true }, { rstrip: true }, { lstrip: true, rstrip: true }, { single_word: true },
    { normalized: true }, { normalized: true, lstrip: true, single_word: true }, { special: false }]) {
    variants.push([`added ${JSON.stringify(flags)}`, variant({
      normalizer: { type: 'Lowercase' },
      added_tokens: [base.added_tokens[0], ...numbered(['Don', 'the', '<s>', 'they', '  '], flags)],
    })]);
  }
  const llamaVariant = (changes) => JSON.stringify({ ...llama, ...changes });
  for (const scheme of ['first', 'always', 'never']) {
    for (const split of [true, false]) {
      variants.push([`Metaspace ${scheme} ${split}`,
        llamaVariant({ normalizer: null, pre_tokenizer: metaspace(scheme, split), decoder: metaspace(scheme, split) })]);
    }
  }
  for (const changes of [{ byte_fallback: false }, { byte_fallback: false, fuse_unk: false }, { unk_token: null, byte_fallback: false }]) {
    variants.push([`model ${JSON.stringify(changes)}`, llamaVariant({ model: { ...llama.model, ...changes } })]);
  }
  // No `stop` on single tokens: the reference panics on tokens shorter than it.
  for (const decoder of [null, { type: 'ByteFallback' }, { type: 'Fuse' }, { type: 'Strip', content: '▁', start: 1, stop: 0 },
    sequence('decoders', { type: 'Fuse' }, { type: 'Strip', content: '▁', start: 2, stop: 1 })]) {
    variants.push([`decoder ${JSON.stringify(decoder)}`, llamaVariant({ decoder })]);
  }
  return variants;
}
