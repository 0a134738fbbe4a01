/** The `optimize` job: the same file, smaller; never larger than it was. */
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import type { JsonObject } from "../../base/json.ts";
import { fail, ok } from "../../base/result.ts";
import { failure } from "../../domain/failure.ts";
import { integerField } from "../config-fields.ts";
import type { FileContent } from "../file-formats.ts";
import { type FileJobOutcome, fileProduct } from "./file-job.ts";
import { encode, hasMetadata, type ImageType, isImageType, openImage, qualityDefault } from "./image.ts";
import { minifyText } from "./minify.ts";

const imageOptions = ["max_width", "max_height", "quality", "keep_metadata"];

export async function optimizeFile(file: FileContent, options: JsonObject): Promise<FileJobOutcome> {
  const isGiven = (name: string): boolean => integerField(options, name) !== undefined || options[name] === true;
  if (isImageType(file.mediaType)) {
    const misfit = ["minify", "gzip"].find(isGiven);
    if (misfit) return fail(failure("SCHEMA", `${misfit} has no meaning for ${file.mediaType}`));
    return await optimizeImage(file.bytes, file.mediaType, options);
  }
  const misfit = imageOptions.find(isGiven);
  if (misfit) return fail(failure("SCHEMA", `${misfit} has no meaning for ${file.mediaType}`));
  if (!isGiven("minify") && !isGiven("gzip")) return fail(failure("SCHEMA", `give minify or gzip: the file is ${file.mediaType}`));
  let { bytes, mediaType } = file;
  if (isGiven("minify")) {
    const small = await minifyText(file);
    if (!small.ok) return small;
    const minified = Buffer.from(small.value.text);
    mediaType = small.value.mediaType;
    if (minified.length < bytes.length) bytes = minified;
  }
  const packed = isGiven("gzip") ? await promisify(gzip)(bytes, { level: 9 }) : undefined;
  return ok(packed && packed.length < bytes.length ? fileProduct("application/gzip", packed) : fileProduct(mediaType, bytes));
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
