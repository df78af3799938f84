import { fromFileUrl } from "@std/path/from-file-url";
import { must, Peer } from "./command.ts";
import type { Need } from "./needs.ts";
import type { TempDir } from "./temp_dir.ts";

/** What a test with a {@linkcode FaultyFs} needs, beside a `mountTest`. */
export const FAULTY_FS_NEEDS: readonly Need[] = ["FUSE and its headers"];

/** Error numbers of Linux, as the faults want them. */
export const ERRNO = {
  EPERM: 1,
  EIO: 5,
  EEXIST: 17,
  ENOSPC: 28,
  EDQUOT: 122,
} as const;

/** What is wrong with the file system; see `faulty_faults.h`. */
export interface Faults {
  /** What was written is lost, and `close` and `fsync` say this error. */
  close?: number;
  /** Regular files say that their size is 0, whatever they hold. */
  empty?: 1;
  /** Regular files end after half of the bytes that they say they have. */
  short?: 1;
  /** A file can have so many links. */
  links?: number;
  /** A rename onto a name that is there says this error. */
  over?: number;
  /** So many of 1,000 requests say EIO, as the seed has it. */
  eio?: number;
  seed?: number;
  /** The request with this number, from 1 on, says EIO. */
  nth?: number;
}

/**
 * A file system (FUSE, `faulty_fs.c`) that shows what a directory of a real one
 * holds, with faults that can be changed at any time. Only inside a `mountTest`.
 */
export class FaultyFs implements AsyncDisposable {
  /** Where it is mounted. */
  readonly path: string;
  /** What it really holds, and where it can be looked at without faults. */
  readonly backing: string;
  readonly #control: string;
  readonly #log: string;
  readonly #server: Peer;
  #runs = 0;

  private constructor(at: string, server: Peer) {
    this.path = `${at}/mnt`;
    this.backing = `${at}/backing`;
    this.#control = `${at}/control`;
    this.#log = `${at}/log`;
    this.#server = server;
  }

  /** Compiles it and mounts it, without faults as yet. */
  static async mount(dir: TempDir): Promise<FaultyFs> {
    const at = dir.at(`faulty-${crypto.randomUUID().slice(0, 8)}`);
    for (const name of ["backing", "mnt"]) {
      Deno.mkdirSync(`${at}/${name}`, { recursive: true });
    }
    const program = `${at}/faulty_fs`;
    const flags = (await must("pkg-config", "fuse3", "--cflags", "--libs"))
      .trim().split(/\s+/);
    const source = fromFileUrl(new URL("faulty_fs.c", import.meta.url));
    await must("cc", "-O1", "-Wall", "-o", program, source, ...flags);
    const names = ["backing", "mnt", "control", "log"];
    const server = new Peer([program, ...names.map((it) => `${at}/${it}`)]);
    await server.says("mounted");
    return new FaultyFs(at, server);
  }

  /** These faults, and no others, from the next request on. */
  set(faults: Faults): void {
    const all = { ...faults, run: ++this.#runs };
    const text = Object.entries(all).map(([name, it]) => `${name}=${it} `);
    Deno.writeTextFileSync(this.#control, text.join(""));
    Deno.writeTextFileSync(this.#log, "");
  }

  /** The faults that have struck since the last {@linkcode set}: request and error. */
  struck(): string[] {
    return this.#said().filter((it) => !it.startsWith("requests "));
  }

  #said(): string[] {
    return Deno.readTextFileSync(this.#log).split("\n").filter((it) => it);
  }

  /** How many requests there were since the last {@linkcode set}. Ends its faults. */
  requests(): number {
    this.set({});
    Deno.lstatSync(this.path);
    return Number(/requests (\d+)/.exec(this.#said().join())![1]);
  }

  /** Ends it; nobody may be inside. The mount goes with its namespace at the latest. */
  async [Symbol.asyncDispose](): Promise<void> {
    await must("umount", "-l", this.path).catch(() => {});
    await this.#server[Symbol.asyncDispose]();
  }
}
