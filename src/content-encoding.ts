import { once } from 'node:events';
import { type Readable, Transform } from 'node:stream';
import {
  constants,
  createBrotliDecompress,
  createGunzip,
  createInflate,
  createInflateRaw,
  createZstdDecompress,
} from 'node:zlib';

import type { preParsingAsyncHookHandler } from 'fastify';

import { AppError } from './errors.ts';

/** Maximum window of zstd, as a power of two: 8 MiB, which RFC 8878 recommends. It bounds the memory of a decoder. */
const ZSTD_WINDOW = 23;

/** Creates the decoder of each content coding (RFC 9110, 8.4.1). `first` is the start of deflated content. */
const DECODERS: Readonly<Record<string, (first: Buffer) => Transform>> = {
  gzip: () => createGunzip(),
  // Many clients send deflate without the zlib header that the RFC demands. The header's low bits are always 8.
  deflate: (first) => (((first[0] ?? 8) & 0x0f) === 8 ? createInflate() : createInflateRaw()),
  br: () => createBrotliDecompress(),
  zstd: () => createZstdDecompress({ params: { [constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW } }),
};

export const CONTENT_CODINGS = Object.keys(DECODERS);

/**
 * Creates a hook that decompresses a request body while it is read. It stops at `limit` bytes after decompression, so a
 * small body cannot use more memory or time than a large one.
 *
 * @throws `unsupported_media_type` for another content coding or several, `payload_too_large`, and `validation_failed`
 * when the content is not valid in its coding.
 */
export function decompressBody(limit: number): preParsingAsyncHookHandler {
  return async (request, reply, payload) => {
    const coding = (request.headers['content-encoding'] ?? '')
      .trim()
      .toLowerCase()
      .replace(/^x-(?=gzip$)/, '');
    if (coding === '' || coding === 'identity' || request.method === 'GET') return payload;
    const create = Object.hasOwn(DECODERS, coding) ? DECODERS[coding] : undefined;
    if (!create) {
      void reply.header('accept-encoding', CONTENT_CODINGS.join(', '));
      const message = `The Content-Encoding must be one of ${CONTENT_CODINGS.join(', ')}.`;
      throw new AppError('unsupported_media_type', message);
    }
    const first = coding === 'deflate' ? await peek(payload as Readable) : Buffer.alloc(0);
    return decoded(payload as Readable, create(first), { coding, limit });
  };
}

/** Returns the first bytes of a stream without taking them; empty when it has none. */
async function peek(payload: Readable): Promise<Buffer> {
  await once(payload, 'readable');
  const chunk = (payload.read() ?? Buffer.alloc(0)) as Buffer;
  if (chunk.length > 0) payload.unshift(chunk);
  return chunk;
}

function decoded(
  payload: Readable,
  decoder: Transform,
  { coding, limit }: { coding: string; limit: number },
): Transform & { receivedEncodedLength: number } {
  let size = 0;
  const counted = Object.assign(
    new Transform({
      transform: (chunk: Buffer, _encoding, done) => {
        size += chunk.length;
        if (size <= limit) return done(null, chunk);
        done(
          new AppError('payload_too_large', `The request body exceeds the limit of ${limit} bytes when decompressed.`),
        );
      },
    }),
    // Fastify compares it with the Content-Length.
    { receivedEncodedLength: 0 },
  );
  payload.on('data', (chunk: Buffer) => (counted.receivedEncodedLength += chunk.length));
  payload.on('error', (error) => counted.destroy(error));
  // Node.js closes the request without an error when the client disconnects.
  payload.on(
    'close',
    () => payload.readableEnded || counted.destroy(new AppError('validation_failed', 'The request was aborted.')),
  );
  decoder.on('error', () =>
    counted.destroy(new AppError('validation_failed', `The request body is not valid ${coding}.`)),
  );
  counted.on('close', () => {
    payload.unpipe(decoder);
    decoder.destroy();
    // Discards the rest, so that the client can read the answer.
    payload.resume();
  });
  payload.pipe(decoder).pipe(counted);
  return counted;
}
