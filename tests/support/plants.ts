/** What a stranger can put where a lock file, or a note, is expected. */

import { must } from "./command.ts";
import type { Need } from "./needs.ts";

/** Something to be found in a file's place. */
export interface Plant {
  needs: Need[];
  /** Puts it there, away from which it leads to `victim`, a file. */
  put: (path: string, victim: string) => void | Promise<void>;
  /** What stands before the command that meets it. */
  wrap?: string[];
}

/** All kinds, by what they are called in a test's name. */
export const PLANTS: Record<string, Plant> = {
  "a symbolic link to a file": {
    needs: ["posix"],
    put: (path, victim) => Deno.symlinkSync(victim, path),
  },
  "a dangling symbolic link": {
    needs: ["posix"],
    put: (path, victim) => Deno.symlinkSync(`${victim}-not-there`, path),
  },
  "a FIFO": {
    needs: ["posix", "mkfifo"],
    put: async (path) => {
      await must("mkfifo", "-m", "666", path);
    },
  },
  // Opened for reading only, it blocks. Root may write to it, unless it has no
  // capabilities: then it is as another user.
  "another user's FIFO": {
    needs: ["linux", "root", "mkfifo", "setpriv"],
    put: async (path) => {
      await must("mkfifo", "-m", "644", path);
      Deno.chownSync(path, 65534, 65534);
    },
    wrap: ["setpriv", "--inh-caps=-all", "--bounding-set=-all"],
  },
  "a symbolic link to a FIFO": {
    needs: ["posix", "mkfifo"],
    put: async (path) => {
      const fifo = `${path}-fifo`;
      await must("mkfifo", "-m", "666", fifo);
      Deno.symlinkSync(fifo, path);
    },
  },
  "a symbolic link to /dev/zero": {
    needs: ["linux"],
    put: (path) => Deno.symlinkSync("/dev/zero", path),
  },
};
