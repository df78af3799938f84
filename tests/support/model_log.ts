// The log of a run. All processes append to one file, one line at a time: the kernel
// chooses the place of an append under the file's lock, so the order of the lines is
// an order in time of all processes, whatever their clocks say, and a line that was
// written before something began stands before all lines about it.
//
// Each line also begins with a line feed: one that a kill has torn spoils no other.

/** One line. */
export interface Line {
  /** The process's number, and how often it was started anew. */
  readonly process: string;
  /** Where it works, if machines share a remote. */
  readonly machine?: string;
  /** The operation's number in that process. */
  readonly n: number;
  /** What is told of it: that it begins, what it has done so far, how it ended. */
  readonly tell: "begin" | "mid" | "end";
  readonly kind: string;
  readonly outcome?: string;
  readonly key?: string;
  readonly version?: string;
  readonly id?: string;
  /** Keys and versions, or keys and ids. */
  readonly all?: readonly (readonly [string, string])[];
  readonly count?: number;
  readonly wrong?: readonly string[];
}

/** An operation with its place in the order of all lines. */
export interface Operation extends Omit<Line, "tell" | "outcome"> {
  readonly from: number;
  readonly to: number;
  /** `killed`: it may have done everything, nothing, or part of it. */
  readonly outcome: string;
  readonly mids: readonly (Line & { readonly at: number })[];
}

/** Writes lines. */
export class LogWriter {
  readonly #file: Deno.FsFile;

  constructor(path: string) {
    this.#file = Deno.openSync(path, { append: true, create: true });
  }

  write(line: Line): void {
    const bytes = new TextEncoder().encode(`\n${JSON.stringify(line)}\n`);
    if (this.#file.writeSync(bytes) !== bytes.length) throw new Error("Torn");
  }

  [Symbol.dispose](): void {
    this.#file.close();
  }
}

/** Reads the lines that have come since it read last. */
export class LogReader {
  readonly #file: Deno.FsFile;
  #rest = "";
  /** Lines that a kill has torn. */
  torn = 0;

  constructor(path: string) {
    this.#file = Deno.openSync(path, {
      read: true,
      append: true,
      create: true,
    });
  }

  read(): Line[] {
    const bytes = new Uint8Array(1 << 16);
    const decoder = new TextDecoder();
    let text = this.#rest;
    for (let n; (n = this.#file.readSync(bytes)) !== null;) {
      text += decoder.decode(bytes.subarray(0, n)); // it is all ASCII
    }
    const lines = text.split("\n");
    this.#rest = lines.pop()!;
    return lines.flatMap((line) => {
      if (line === "") return [];
      try {
        return [JSON.parse(line) as Line];
      } catch {
        this.torn++;
        return [];
      }
    });
  }

  [Symbol.dispose](): void {
    this.#file.close();
  }
}

/** Pairs beginnings and ends. What has no end was ended by its process's death. */
export function operationsOf(lines: readonly Line[]): Operation[] {
  const deaths = new Map<string, number>();
  const mids = new Map<string, (Line & { at: number })[]>();
  const ends = new Map<string, Line & { at: number }>();
  for (const [at, line] of lines.entries()) {
    const name = `${line.process} ${line.n}`;
    if (line.kind === "died") deaths.set(line.process, at);
    else if (line.tell === "end") ends.set(name, { ...line, at });
    else if (line.tell === "mid") {
      mids.set(name, [...mids.get(name) ?? [], { ...line, at }]);
    }
  }
  return lines.flatMap(({ tell, ...begin }, from): Operation[] => {
    if (tell !== "begin") return [];
    const name = `${begin.process} ${begin.n}`;
    const { at, tell: _, ...end } = ends.get(name) ?? {
      at: deaths.get(begin.process) ?? Infinity,
      tell: "end",
      outcome: "killed",
    };
    const told = { ...begin, ...end, mids: mids.get(name) ?? [] };
    return [{ ...told, outcome: end.outcome ?? "", from, to: at }];
  });
}
