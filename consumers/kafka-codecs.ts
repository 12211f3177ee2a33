import { promisify } from 'node:util';
import { zstdDecompress } from 'node:zlib';

import kafkajs from 'kafkajs';
import snappy from 'kafkajs-snappy';
import { decompress as decompressLz4 } from 'lz4js';

// kafkajs includes only gzip. All codecs of the protocol are registered, because a batch that cannot be decompressed
// would block its partition forever.
const { CompressionCodecs, CompressionTypes } = kafkajs;

const decompressZstd = promisify(zstdDecompress);

/** kafkajs asks a codec for both directions. */
const compress = (): Promise<never> =>
  Promise.reject(new Error('Compression is not implemented, because the service does not publish to Kafka.'));

CompressionCodecs[CompressionTypes.Snappy] = snappy;
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress,
  decompress: async (buffer: Buffer) => Buffer.from(decompressLz4(buffer)),
});
CompressionCodecs[CompressionTypes.ZSTD] = () => ({ compress, decompress: (buffer: Buffer) => decompressZstd(buffer) });
