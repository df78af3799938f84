import { kindOfError } from "../error.ts";
import { log } from "../log.ts";
import type { Archive } from "./archive.ts";
import type { ArchiveId } from "./layout.ts";
import { Damaged, type Header, OLD, readHeader } from "./manifest.ts";
import { look, type Root } from "./root.ts";

/**
 * What an archive's header says; `undefined` if it is damaged, of an older version, or
 * gone.
 *
 * @throws {CacheError} If it can't be read.
 */
export function headerOf(root: Root, id: ArchiveId): Header | undefined {
  const archives = root.ifThere("archives");
  if (archives && look(archives, id)?.kind !== "directory") return undefined;
  try {
    using archive = archives?.open(id);
    const header = archive && readHeader(archive);
    return header === OLD ? undefined : header;
  } catch (error) {
    if (kindOfError(error) === "not-found") return undefined;
    if (!(error instanceof Damaged)) throw error;
    log.debug(() => error.message);
    return undefined;
  }
}

/** A header without what is not for everybody. */
export function toArchive(header: Header, id: string): Archive {
  const { bucket, key, created, files, bytes, diskBytes, digest } = header;
  return { bucket, key, id, created, files, bytes, diskBytes, digest };
}
