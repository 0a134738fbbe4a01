/** The `optimize` job: the same file, smaller; never larger than it was. */
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import type { JsonObject } from "../../base/json.ts";
import { fail, ok } from "../../base/result.ts";
import { type Failure, failure } from "../../domain/failure.ts";
import { integerField } from "../config-fields.ts";
import type { FileContent } from "../file-formats.ts";
import { type FileJobOutcome, fileProduct } from "./file-job.ts";
import { encode, hasMetadata, type ImageType, isImageType, openImage, qualityDefault } from "./image.ts";
import { minifyText } from "./minify.ts";

const imageOptions = ["max_width", "max_height", "quality", "keep_metadata"];

export async function optimizeFile(file: FileContent, options: JsonObject): Promise<FileJobOutcome> {
  const misfit = misfitFor(file.mediaType, options);
  if (misfit) return fail(misfit);
  if (isImageType(file.mediaType)) return await optimizeImage(file.bytes, file.mediaType, options);
  let { bytes, mediaType } = file;
  if (options["minify"] === true) {
    const small = await minifyText(file);
    if (!small.ok) return small;
    const minified = Buffer.from(small.value.text);
    mediaType = small.value.mediaType;
    if (minified.length < bytes.length) bytes = minified;
  }
  const packed = options["gzip"] === true ? await promisify(gzip)(bytes, { level: 9 }) : undefined;
  return ok(packed && packed.length < bytes.length ? fileProduct("application/gzip", packed) : fileProduct(mediaType, bytes));
}

/** Options that mean nothing for the file, or none where one is needed. */
export function misfitFor(mediaType: string, options: JsonObject): Failure | undefined {
  const isGiven = (name: string): boolean => integerField(options, name) !== undefined || options[name] === true;
  const misfit = (isImageType(mediaType) ? ["minify", "gzip"] : imageOptions).find(isGiven);
  if (misfit) return failure("SCHEMA", `${misfit} has no meaning for ${mediaType}`);
  if (isImageType(mediaType) || isGiven("minify") || isGiven("gzip")) return undefined;
  return failure("SCHEMA", `give minify or gzip: the file is ${mediaType}`);
}

/** The source itself when it is already smaller, unless it has to be changed: then ever lower qualities are tried. */
async function optimizeImage(bytes: Buffer, mediaType: ImageType, options: JsonObject): Promise<FileJobOutcome> {
  const image = await openImage(bytes);
  if (!image.ok) return image;
  const { facts, width, height, pipeline } = image.value;
  const maxWidth = integerField(options, "max_width") ?? width;
  const maxHeight = integerField(options, "max_height") ?? height;
  const isResized = maxWidth < width || maxHeight < height;
  const isStripped = options["keep_metadata"] !== true && hasMetadata(facts);
  const quality = integerField(options, "quality") ?? qualityDefault;
  const lower = mediaType === "image/png" || !(isResized || isStripped) ? [] : [60, 40, 20].filter((other) => other < quality);
  for (const attempt of [quality, ...lower]) {
    let work = pipeline();
    if (isResized) work = work.resize({ width: maxWidth, height: maxHeight, fit: "inside", withoutEnlargement: true });
    if (options["keep_metadata"] === true) work = work.keepMetadata();
    const smaller = await encode(work, mediaType, attempt, width * height);
    if (smaller.length < bytes.length) return ok(fileProduct(mediaType, smaller));
  }
  if (!isResized && !isStripped) return ok(fileProduct(mediaType, bytes));
  return fail(failure("SCHEMA", "the image cannot be changed that way without becoming larger than it is"));
}
