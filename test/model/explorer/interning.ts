/** Gives equal things the same number, so a state consists of a few numbers. The number 0 is never used. */
export class Interning<Thing> {
  readonly #numbers = new Map<string, number>();
  readonly #things: Thing[] = [];
  readonly #keyOf: (thing: Thing) => string;

  constructor(keyOf: (thing: Thing) => string) {
    this.#keyOf = keyOf;
  }

  numberOf(thing: Thing): number {
    const key = this.#keyOf(thing);
    const known = this.#numbers.get(key);
    if (known !== undefined) return known;
    this.#things.push(thing);
    this.#numbers.set(key, this.#things.length);
    return this.#things.length;
  }

  at(number: number): Thing {
    const thing = this.#things[number - 1];
    if (thing === undefined) throw new Error(`nothing has the number ${number}`);
    return thing;
  }

  get size(): number {
    return this.#things.length;
  }
}

/** Caches the answer for each numbered thing: it is computed only once. */
export function onceEach<Answer>(answer: (number: number) => Answer): (number: number) => Answer {
  const answers: (Answer | undefined)[] = [];
  return (number) => (answers[number] ??= answer(number));
}

/** The same for two numbers. */
export function onceEachPair<Answer>(answer: (one: number, other: number) => Answer) {
  const answersOf = onceEach(() => new Map<number, Answer>());
  return (one: number, other: number): Answer => {
    const answers = answersOf(one);
    const known = answers.get(other);
    if (known !== undefined) return known;
    const found = answer(one, other);
    answers.set(other, found);
    return found;
  };
}
