import { hash, randomBytes } from "node:crypto";

const PARTS = 256;
const FIRST_SLOTS = 16;
const GROWTH = 1.5;
const MAX_LOAD = 0.8;

/**
 * Which ids were seen, in about 12 bytes each: a set of the texts of a million takes 100 MB and more. It holds 72 bits of
 * a hash, under which two of a million ids meet once in ten billion runs. The hash is another one in each run, so that
 * nobody can choose ids that meet.
 */
export class SeenIds {
  readonly #salt = randomBytes(16).toString("hex");
  readonly #parts: (Fingerprints | undefined)[] = [];

  /** False if it was seen before. */
  add(id: string): boolean {
    const bytes = hash("sha256", this.#salt + id, "buffer");
    const part = bytes.readUInt8(0) % PARTS;
    return (this.#parts[part] ??= new Fingerprints()).add(bytes.readUInt32BE(4) || 1, bytes.readUInt32BE(8));
  }
}

/** A hash table with open addressing: two words in each slot, of which the first is 0 in an empty one. */
class Fingerprints {
  #words = new Uint32Array(2 * FIRST_SLOTS);
  #size = 0;

  add(first: number, second: number): boolean {
    if (this.#size >= (this.#words.length / 2) * MAX_LOAD) this.#grow();
    const isNew = put(this.#words, first, second);
    if (isNew) this.#size += 1;
    return isNew;
  }

  #grow(): void {
    const larger = new Uint32Array(2 * Math.ceil((this.#words.length / 2) * GROWTH));
    for (let index = 0; index < this.#words.length; index += 2) {
      const first = this.#words[index] ?? 0;
      if (first !== 0) put(larger, first, this.#words[index + 1] ?? 0);
    }
    this.#words = larger;
  }
}

/** False if the pair is there. */
function put(words: Uint32Array, first: number, second: number): boolean {
  let index = 2 * (second % (words.length / 2));
  while (words[index] !== 0) {
    if (words[index] === first && words[index + 1] === second) return false;
    index = (index + 2) % words.length;
  }
  words[index] = first;
  words[index + 1] = second;
  return true;
}
