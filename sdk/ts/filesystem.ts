// Files in the directory that the manifest grants. Needs the handler `filesystem`. Paths are relative to that directory. Each
// function throws a `HostError` if the path would leave the directory, or if the operating system refuses.
import {
  createDir as hostCreateDir,
  deleteDir as hostDeleteDir,
  deleteFile as hostDeleteFile,
  listFiles as hostListFiles,
  pathExists as hostPathExists,
  readFile as hostReadFile,
  writeFile as hostWriteFile,
} from 'ntwk:theater/filesystem';
import { text } from './bytes';
import { called } from './host-error';

/** The content of a file. */
export function readFile(path: string): Uint8Array {
  return called(() => hostReadFile(path));
}

/** The content of a file as text. Throws if it is no UTF-8. */
export function readText(path: string): string {
  return text(readFile(path));
}

/** Creates a file or replaces its content. */
export function writeFile(path: string, content: string): void {
  called(() => hostWriteFile(path, content));
}

/** The names in a directory, sorted. */
export function listFiles(path = '.'): string[] {
  return Array.from(called(() => hostListFiles(path)));
}

/** Deletes a file. */
export function deleteFile(path: string): void {
  called(() => hostDeleteFile(path));
}

/** Creates a directory inside an existing one. */
export function createDir(path: string): void {
  called(() => hostCreateDir(path));
}

/** Deletes a directory and everything in it. */
export function deleteDir(path: string): void {
  called(() => hostDeleteDir(path));
}

/** Tells whether there is a file or directory with this path. */
export function pathExists(path: string): boolean {
  return called(() => hostPathExists(path));
}
