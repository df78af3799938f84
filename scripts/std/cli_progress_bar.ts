// Stand-in for @std/cli/unstable-progress-bar: see scripts/deno.
interface Formatter {
  progressBar: string;
  value: number;
  max: number;
}

interface Options {
  max: number;
  value?: number;
  barLength?: number;
  fillChar?: string;
  emptyChar?: string;
  clear?: boolean;
  formatter?: (formatter: Formatter) => string;
  interval?: number;
}

export class ProgressBar {
  value: number;
  max: number;
  readonly #options: Options;
  readonly #timer: ReturnType<typeof setInterval>;

  constructor(options: Options) {
    this.#options = options;
    this.value = options.value ?? 0;
    this.max = options.max;
    this.#timer = setInterval(() => this.#print(), options.interval ?? 1000);
    this.#print();
  }

  stop(): Promise<void> {
    clearInterval(this.#timer);
    if (this.#options.clear) write("");
    else this.#print();
    return Promise.resolve();
  }

  #print(): void {
    const { value, max } = this;
    const { barLength = 50, fillChar = "#", emptyChar = "-" } = this.#options;
    const full = Math.trunc(Math.min(value / max || 0, 1) * barLength);
    const progressBar = fillChar.repeat(full) +
      emptyChar.repeat(barLength - full);
    const { formatter = (it: Formatter) => `[${it.progressBar}]` } =
      this.#options;
    write(formatter({ progressBar, value, max }));
  }
}

function write(text: string): void {
  Deno.stderr.writeSync(new TextEncoder().encode(`\r\u001b[K${text}`));
}
