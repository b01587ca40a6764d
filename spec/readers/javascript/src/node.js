/** Everything of `./index.js`, and bundles in folders of this machine. Node only. */

import { Bundle } from "./bundle.js";
import { FolderSource } from "./sources/folder.js";

export * from "./index.js";

/**
 * Open a bundle in a folder.
 * @param {string} folder
 * @returns {Promise<Bundle>}
 */
export async function openFolder(folder) {
  return Bundle.open(await FolderSource.at(folder));
}
