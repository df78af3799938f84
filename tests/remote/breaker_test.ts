import { assertEquals } from "@std/assert";
import { Breaker, LostKeys } from "../../lib/remote/breaker.ts";
import { Notes } from "../../lib/remote/notes.ts";
import { test } from "../support/needs.ts";
import { TempDir } from "../support/temp_dir.ts";

const HASH = "a".repeat(40);

function breakerIn(folder: string): Breaker {
  return new Breaker(new Notes(folder), HASH);
}

/** Gives a note another time. */
function setTime(path: string, secondsFromNow: number): void {
  const time = new Date(Date.now() + secondsFromNow * 1000);
  Deno.utimeSync(path, time, time);
}

Deno.test("Breaker.isOpen() is true for a minute after open(), for all processes", async () => {
  await using dir = TempDir.make();
  const folder = dir.at("remote-v1");
  const breaker = breakerIn(folder);
  assertEquals(breaker.isOpen(), false);
  breaker.open("it was down");
  assertEquals([...Deno.readDirSync(folder)].map(({ name }) => name), [
    `${HASH}.down`,
  ]);
  assertEquals(breaker.isOpen(), true);
  assertEquals(breakerIn(folder).isOpen(), true);
  const note = dir.at("remote-v1", `${HASH}.down`);
  setTime(note, -61);
  assertEquals(breaker.isOpen(), false);
  setTime(note, 3600); // of a clock that was wrong
  assertEquals(breaker.isOpen(), false);
  breaker.open("once more");
  assertEquals(breaker.isOpen(), true);
  breaker.close();
  assertEquals(breaker.isOpen(), false);
  breaker.close();
});

Deno.test("Breaker.open() is for this process alone where nothing can be noted", async () => {
  await using dir = TempDir.make();
  dir.write({ file: "text" });
  for (const folder of [dir.at("missing", "remote-v1"), dir.at("file")]) {
    const breaker = breakerIn(folder);
    breaker.open("it was down");
    assertEquals(breaker.isOpen(), true);
    assertEquals(breakerIn(folder).isOpen(), false);
    breaker.close();
    assertEquals(breaker.isOpen(), false);
  }
  assertEquals(Deno.readTextFileSync(dir.at("file")), "text");
  const none = new Breaker(new Notes(undefined), HASH);
  none.open("it was down");
  assertEquals(none.isOpen(), true);
});

test(
  "Breaker heeds only a file, and writes through nothing",
  ["posix"],
  async () => {
    await using dir = TempDir.make();
    dir.write({
      folder: { [`${HASH}.down`]: { inner: "text" } },
      target: "text",
    });
    const isOpen = () => breakerIn(dir.at("folder")).isOpen();
    const open = () => breakerIn(dir.at("folder")).open("it was down");
    assertEquals(isOpen(), false);
    open(); // a directory is there
    assertEquals(isOpen(), false);
    assertEquals([...Deno.readDirSync(dir.at("folder"))].length, 1);
    const note = dir.at("folder", `${HASH}.down`);
    Deno.removeSync(note, { recursive: true });
    Deno.symlinkSync(dir.at("target"), note);
    assertEquals(isOpen(), false);
    open();
    assertEquals(isOpen(), true);
    assertEquals(Deno.readTextFileSync(dir.at("target")), "text");
    assertEquals(Deno.lstatSync(note).isFile, true);
    // Nor is the folder itself followed.
    Deno.symlinkSync(dir.at("folder"), dir.at("link"));
    assertEquals(breakerIn(dir.at("link")).isOpen(), false);
  },
);

Deno.test("LostKeys remembers in memory, and for the next process", async () => {
  await using dir = TempDir.make();
  const notes = new Notes(dir.at("remote-v1"));
  const [key, other] = ["b".repeat(64), "c".repeat(64)];
  const lost = new LostKeys(notes, HASH);
  assertEquals(lost.has(key!), false);
  lost.delete(key!);
  lost.add(key!);
  assertEquals([lost.has(key!), lost.has(other!)], [true, false]);
  const next = new LostKeys(notes, HASH);
  assertEquals([next.has(key!), next.has(other!)], [true, false]);
  assertEquals(new LostKeys(notes, "d".repeat(40)).has(key!), false);
  next.delete(key!);
  assertEquals(new LostKeys(notes, HASH).has(key!), false);
  const memory = new LostKeys(new Notes(undefined), HASH);
  memory.add(key!);
  assertEquals(memory.has(key!), true);
  memory.delete(key!);
  assertEquals(memory.has(key!), false);
});
