/** Images: PNG, JPEG, WebP and AVIF, at most 50 megapixels over all frames and 100 frames. */
import type { Metadata, Sharp } from "sharp";
import type { JsonObject } from "../../base/json.ts";
import { fail, ok, type Result } from "../../base/result.ts";
import { type Failure, failure } from "../../domain/failure.ts";
import { integerField } from "../config-fields.ts";
import { type FileJobOutcome, fileProduct } from "./file-job.ts";

export const pixelsMax = 50_000_000;
const framesMax = 100;
/**
 * AVIF's encoder cannot be interrupted, so its work has to be bounded: 4 megapixels of noise take one thread 0.5 s with effort 0,
 * 2.4 s with 2 and 26 s with 4, the library's default. Larger images get the least effort.
 */
const quickAvifPixels = 4_000_000;
const decodeSeconds = 25;
export const qualityDefault = 80;

const imageTypes = ["image/png", "image/jpeg", "image/webp", "image/avif"] as const;
export type ImageType = (typeof imageTypes)[number];

export function isImageType(mediaType: string): mediaType is ImageType {
  return (imageTypes as readonly string[]).includes(mediaType);
}

export interface OpenImage {
  readonly facts: Metadata;
  readonly frames: number;
  /** Of one frame, as it is shown: its orientation applied. */
  readonly width: number;
  readonly height: number;
  /** A new pipeline over the image, turned upright. */
  pipeline(): Sharp;
}

/** Reads the header only; LIMIT.PIXELS and LIMIT.FRAMES before anything is decoded. */
export async function openImage(bytes: Buffer): Promise<Result<OpenImage, Failure>> {
  const { default: sharp } = await import("sharp");
  sharp.cache(false);
  sharp.concurrency(1);
  // The header of too large an image is still read, so that the refusal can say how large it is.
  const facts = await sharp(bytes, { limitInputPixels: false }).metadata();
  const frames = facts.pages ?? 1;
  const { width, height } = facts.autoOrient;
  if (frames > framesMax) return fail(failure("LIMIT.FRAMES", `the image has ${frames} frames; the limit is ${framesMax}`));
  if (width * height * frames > pixelsMax)
    return fail(failure("LIMIT.PIXELS", `the image has ${width} × ${height} pixels${frames > 1 ? ` in ${frames} frames` : ""}; the limit is ${pixelsMax}`));
  const pipeline = (): Sharp =>
    sharp(bytes, { limitInputPixels: pixelsMax, failOn: "error", animated: frames > 1 })
      .autoOrient()
      .timeout({ seconds: decodeSeconds });
  return ok({ facts, frames, width, height, pipeline });
}

/** The `image` job: `{format, width, height, pixels, frames, channels, has_alpha, color_space, orientation?, density?, has_metadata}`. */
export async function describeImage(bytes: Buffer): Promise<FileJobOutcome> {
  const image = await openImage(bytes);
  if (!image.ok) return image;
  const { facts, frames, width, height } = image.value;
  const described: JsonObject = {
    format: facts.format === "heif" ? "avif" : facts.format,
    width,
    height,
    pixels: width * height * frames,
    frames,
    channels: facts.channels,
    has_alpha: facts.hasAlpha,
    color_space: facts.space,
    has_metadata: hasMetadata(facts),
    ...(facts.orientation === undefined ? {} : { orientation: facts.orientation }),
    ...(facts.density === undefined ? {} : { density: facts.density }),
  };
  return ok({ kind: "facts", facts: described });
}

/** Whether there is anything that says who, where or with what. */
export function hasMetadata(facts: Metadata): boolean {
  return [facts.exif, facts.iptc, facts.xmp].some((part) => part !== undefined && part.length > 0);
}

/** Writes another image format. Metadata is left behind; what is transparent becomes white where the target has no transparency. */
export async function convertImage(bytes: Buffer, target: ImageType, options: JsonObject): Promise<FileJobOutcome> {
  const image = await openImage(bytes);
  if (!image.ok) return image;
  const { frames, facts, width, height, pipeline } = image.value;
  if (frames > 1 && target !== "image/webp") return fail(failure("SCHEMA", `the image moves (${frames} frames); only image/webp can hold it`));
  const flat = facts.hasAlpha && target === "image/jpeg" ? pipeline().flatten({ background: "white" }) : pipeline();
  return ok(fileProduct(target, await encode(flat, target, integerField(options, "quality") ?? qualityDefault, width * height)));
}

/** PNG keeps every pixel; the others take the quality (1 to 100). */
export function encode(pipeline: Sharp, target: ImageType, quality: number, pixels: number): Promise<Buffer> {
  switch (target) {
    case "image/png":
      return pipeline.png({ compressionLevel: 9 }).toBuffer();
    case "image/jpeg":
      return pipeline.jpeg({ quality, mozjpeg: true }).toBuffer();
    case "image/webp":
      return pipeline.webp({ quality }).toBuffer();
    case "image/avif":
      return pipeline.avif({ quality, effort: pixels > quickAvifPixels ? 0 : 2 }).toBuffer();
  }
}
