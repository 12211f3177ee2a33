import { promisify } from 'node:util';
import { zstdCompress, zstdDecompress } from 'node:zlib';

import kafkajs from 'kafkajs';
import snappy from 'kafkajs-snappy';
import { compressFrame, decompressFrame } from 'lz4-napi';

// kafkajs includes only gzip. All codecs of the protocol are registered, because a batch that cannot be decompressed
// would block its partition forever.
const { CompressionCodecs, CompressionTypes } = kafkajs;

const compressZstd = promisify(zstdCompress);
const decompressZstd = promisify(zstdDecompress);

CompressionCodecs[CompressionTypes.Snappy] = snappy;
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: (encoder: { buffer: Buffer }) => compressFrame(encoder.buffer),
  decompress: (buffer: Buffer) => decompressFrame(buffer),
});
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: (encoder: { buffer: Buffer }) => compressZstd(encoder.buffer),
  decompress: (buffer: Buffer) => decompressZstd(buffer),
});
