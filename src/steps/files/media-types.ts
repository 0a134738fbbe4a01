/** Names of the formats that `convert` writes, and what a file of each is called. */
import type { ImageType } from "./image.ts";

export type DocumentType = "text/csv" | "application/json" | "application/x-ndjson" | "application/yaml" | "application/xml";
export type TargetType = DocumentType | ImageType | "text/html";

const aliases: Readonly<Record<string, TargetType>> = {
  "application/ndjson": "application/x-ndjson",
  "application/jsonl": "application/x-ndjson",
  "application/x-yaml": "application/yaml",
  "text/yaml": "application/yaml",
  "text/xml": "application/xml",
  "image/jpg": "image/jpeg",
};

const extensions: Readonly<Record<TargetType | "application/gzip" | "text/css" | "application/pdf", string>> = {
  "text/csv": "csv",
  "application/json": "json",
  "application/x-ndjson": "ndjson",
  "application/yaml": "yaml",
  "application/xml": "xml",
  "text/html": "html",
  "text/css": "css",
  "image/png": "png",
  "image/jpeg": "jpg",
  "image/webp": "webp",
  "image/avif": "avif",
  "application/gzip": "gz",
  "application/pdf": "pdf",
};

export const targetTypes = Object.keys(extensions).filter((type) => !["text/css", "application/gzip", "application/pdf"].includes(type)) as TargetType[];

/** The one name of a target that is possible, or undefined. */
export function findTarget(name: string): TargetType | undefined {
  const lower = name.trim().toLowerCase();
  const known = Object.hasOwn(aliases, lower) ? aliases[lower] : lower;
  return targetTypes.find((type) => type === known);
}

export function extensionOf(mediaType: string): string {
  return Object.hasOwn(extensions, mediaType) ? extensions[mediaType as TargetType] : "bin";
}
