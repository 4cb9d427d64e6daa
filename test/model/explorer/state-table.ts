const GROWTH = 2;
const FREE = -1;

/**
 * All reached states, each a row of `width` numbers, in the order of their discovery: the table is also the queue of
 * the search. With the number of its parent, a state of four actors takes about fifty bytes.
 */
export class StateTable {
  readonly width: number;
  #rows: Int32Array;
  #parents: Int32Array;
  /** A hash table with open addressing, at most half full. */
  #slots: Int32Array;
  #size = 0;

  constructor(width: number, room = 1 << 12) {
    this.width = width;
    this.#rows = new Int32Array(width * room);
    this.#parents = new Int32Array(room);
    this.#slots = new Int32Array(GROWTH * room).fill(FREE);
  }

  get size(): number {
    return this.#size;
  }

  row(state: number): Int32Array {
    return this.#rows.slice(state * this.width, (state + 1) * this.width);
  }

  parentOf(state: number): number {
    return this.#parents[state] ?? FREE;
  }

  /** Returns false if the state was known. */
  add(row: Int32Array, parent: number): boolean {
    const slot = this.#slotOf(row);
    if (this.#slots[slot] !== FREE) return false;
    this.#rows.set(row, this.#size * this.width);
    this.#parents[this.#size] = parent;
    this.#slots[slot] = this.#size;
    this.#size += 1;
    if (this.#size === this.#parents.length) this.#grow();
    return true;
  }

  #slotOf(row: Int32Array): number {
    const mask = this.#slots.length - 1;
    let slot = hashOf(row) & mask;
    for (let state = this.#slots[slot]; state !== undefined && state !== FREE; state = this.#slots[slot]) {
      if (this.#equals(state, row)) return slot;
      slot = (slot + 1) & mask;
    }
    return slot;
  }

  #equals(state: number, row: Int32Array): boolean {
    const from = state * this.width;
    for (let at = 0; at < this.width; at++) if (this.#rows[from + at] !== row[at]) return false;
    return true;
  }

  #grow(): void {
    this.#rows = longer(this.#rows);
    this.#parents = longer(this.#parents);
    this.#slots = new Int32Array(GROWTH * this.#parents.length).fill(FREE);
    for (let state = 0; state < this.#size; state++) this.#slots[this.#slotOf(this.row(state))] = state;
  }
}

function longer(numbers: Int32Array): Int32Array {
  const more = new Int32Array(GROWTH * numbers.length);
  more.set(numbers);
  return more;
}

/** FNV-1a over the numbers, then mixed, because similar states differ in few bits. */
function hashOf(row: Int32Array): number {
  let hash = 0x811c9dc5;
  for (const number of row) hash = Math.imul(hash ^ number, 0x01000193) ^ (hash >>> 15);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  return (hash ^ (hash >>> 13)) >>> 0;
}
