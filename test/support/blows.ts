/**
 * What befalls the operator at one of its writes. `Before`: it is killed, and the server never hears of the write. `After`: the server has carried it out, and
 * the operator is killed before it could do anything more. `ReplyLost`: the server has carried it out, the operator lives but is not told.
 */
export const blows = ['Before', 'After', 'ReplyLost'] as const;
export type Blow = (typeof blows)[number];

/** Who says what befalls a run's writes. */
export interface Blows {
  /** The blow at this write, if any. */
  strike(write: string): Blow | undefined;
}

/** One blow, at the write of that index. */
export function blowAt(at: number, kind: Blow): Blows {
  let index = 0;
  return { strike: () => (index++ === at ? kind : undefined) };
}

/**
 * A list of points, each write of an undisturbed run with each kind of blow, which runs go through together: one run takes as many blows as fall on its way, a few writes
 * apart. So a run must come to the same end after a dozen deaths, not only after one, and all points are tried by a few runs.
 */
export class Campaign {
  readonly #open: Map<string, Blow[]>;
  readonly #apart: number;
  #tried = 0;

  constructor(writes: readonly string[], kinds: readonly Blow[], apart: number) {
    this.#open = new Map(writes.map((write) => [write, [...kinds]]));
    this.#apart = apart;
  }

  /** Blows that fell. */
  get tried(): number {
    return this.#tried;
  }

  /** Points that are left. */
  get left(): readonly string[] {
    return [...this.#open].flatMap(([write, kinds]) => kinds.map((kind) => `${kind} ${write}`));
  }

  /** The blows of one run, with those that fell. */
  course(): Blows & { readonly fell: readonly string[] } {
    const fell: string[] = [];
    let since = this.#apart;
    return {
      fell,
      strike: (write) => {
        since += 1;
        const kind = since <= this.#apart ? undefined : this.#open.get(write)?.shift();
        if (kind === undefined) return undefined;
        if (this.#open.get(write)?.length === 0) this.#open.delete(write);
        since = 0;
        this.#tried += 1;
        fell.push(`${kind} ${write}`);
        return kind;
      },
    };
  }
}
