import { join } from "@std/path/join";
import { preloadLibc } from "../../lib/os/libc.ts";
import { preloadMacosCalls } from "../../lib/os/macos.ts";
import { preloadWindowsCalls } from "../../lib/os/windows.ts";

// Before any test: a library stays loaded, which the sanitizer takes for a leak.
preloadLibc();
preloadMacosCalls();
preloadWindowsCalls();

/** A directory of a test's own, which goes when the test ends. */
export class TempDir implements AsyncDisposable {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  /** `REBUILD_CACHE_TEST_DIR` puts it on another file system than the default. */
  static make(): TempDir {
    const dir = Deno.env.get("REBUILD_CACHE_TEST_DIR");
    const options = { prefix: "rebuild-cache-test-", ...dir && { dir } };
    const path = Deno.makeTempDirSync(options);
    return new TempDir(Deno.realPathSync(path));
  }

  /** One that somebody else made, and removes. */
  static at(path: string): TempDir {
    return new TempDir(path);
  }

  /** A path inside. */
  at(...names: string[]): string {
    return join(this.path, ...names);
  }

  /** Writes files: a text, or an object that is a directory. */
  write(tree: Tree, at: string = this.path): void {
    for (const [name, content] of Object.entries(tree)) {
      const path = `${at}/${name}`;
      if (typeof content === "string") Deno.writeTextFileSync(path, content);
      else {
        Deno.mkdirSync(path, { recursive: true });
        this.write(content, path);
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (let tries = 0;; tries++) {
      try {
        return await Deno.remove(this.path, { recursive: true });
      } catch (error) {
        if (error instanceof Deno.errors.NotFound) return;
        // A handle that Windows, or a peer that is still ending, holds a moment longer.
        if (tries >= 20) throw error;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }
}

/** Files by name. */
export interface Tree {
  [name: string]: string | Tree;
}

/** Makes `directories` directories of `files` small files each, fast. */
export function makeManyFiles(
  root: string,
  directories: number,
  files: number,
): void {
  const bytes = new TextEncoder().encode("cached\n");
  for (let d = 0; d < directories; d++) {
    // Ten to a level, as a package manager's store has them.
    const directory = `${root}/${Math.floor(d / 10)}/${d % 10}`;
    Deno.mkdirSync(directory, { recursive: true });
    for (let f = 0; f < files; f++) {
      Deno.writeFileSync(`${directory}/file-${f}`, bytes);
    }
  }
}

/** The names in a directory, sorted; without lock files, which stay beside what they guard. */
export function namesIn(directory: string): string[] {
  return [...Deno.readDirSync(directory)].map(({ name }) => name)
    .filter((name) => !name.endsWith(".lock")).sort();
}
