export { connect, type ConnectOptions } from './connect.ts';
export { createEmitter, type Destination, EmitError, type Emitter, type Publisher } from './emitter.ts';
export { type GraphQLFailure, StreamError } from './failures.ts';
export { resume, type ResumeOptions } from './resume.ts';
export {
  type ClientKeys,
  createPayloadKeys,
  openSealedPayload,
  SealError,
  type SealErrorCode,
  type SealedPayload,
  type SealedPayloadOptions,
} from './seal.ts';
export { type SealedCloseEvent, SealedWebSocket } from './sealed-socket.ts';
