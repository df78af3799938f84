/**
 * Puts what is under one key under others, too.
 *
 * @module
 */

import { copyContent, UNSTOPPABLE } from "../fs/copy.ts";
import { descend } from "../link/build.ts";
import { Breath, patiently } from "../os/patience.ts";
import { assemble, type Provide } from "./assemble.ts";
import { contentOf } from "./content.ts";
import { ContentStore } from "./content_store.ts";
import { TREE } from "./layout.ts";
import { Damaged, OLD, readManifest } from "./manifest.ts";
import { pushId } from "./pull.ts";
import { openFolder } from "./root.ts";
import { SlotStaging } from "./staging.ts";
import type { Store } from "./store.ts";

/**
 * Makes an archive of the same files for each key: a key is in its archive's manifest.
 *
 * @param id The archive, which is held.
 */
export async function putAlso(
  store: Store,
  id: string,
  key: string,
  others: readonly string[],
): Promise<void> {
  const { signal } = store.options;
  for (const other of new Set(others)) {
    if (other === key) continue;
    await using staging = await SlotStaging.open(store, other);
    const { root, directory: slot } = staging.slot;
    using archive = openFolder(root.folder("archives"), id);
    const manifest = await readManifest(archive);
    if (manifest === OLD) throw new Damaged("It is of an older version", key);
    const content = await contentOf([...manifest.listing.directories()]);
    const provide: Provide = async ({ file, folder }, to, name) => {
      const [listed, , mode] = file;
      using top = folder === undefined ? archive.again() : archive.open(TREE);
      using from = descend(top, folder ?? "");
      const at = folder === undefined ? TREE : listed;
      using source = patiently(() => from.openFile(at, "read"));
      using target = patiently(() => to.openFile(name, "create", mode));
      await copyContent(source, target, source.opened, UNSTOPPABLE);
      target.setAccess({ mode });
      target.close();
    };
    using files = new ContentStore(root, slot);
    const breath = new Breath(signal);
    const made = await assemble(slot, content.lines, files, provide, breath);
    const { diskBytes, ownBytes } = made;
    const put = await staging.publish({ ...content, diskBytes, ownBytes });
    await pushId(store, other, root, put.id);
  }
}
