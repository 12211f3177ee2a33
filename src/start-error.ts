import pg from 'pg';

import { isDatabaseUnavailable } from './database/errors.ts';

/** A connection URL and the environment variable that contains it. */
export interface DatabaseSource {
  url: string;
  variable: 'DATABASE_URL' | 'DATABASE_OWNER_URL';
}

/** SQLSTATE of a login that PostgreSQL refuses (class 28) or of a database that does not exist (class 3D). */
const REFUSED = /^(28|3D)\w{3}$/;

/**
 * Returns an error that names the server and the variable when a connection fails. Returns any other error as it is. The
 * message never contains the password.
 */
export function explainDatabaseError(error: unknown, { url, variable }: DatabaseSource): Error {
  if (!(error instanceof Error)) return new Error(String(error));
  const { code = '' } = error as { code?: string };
  if (code === 'ERR_INVALID_URL') {
    return new Error(`${variable} is not a valid URL. Its format is postgres://user:password@host:5432/database.`);
  }
  const isRefused = REFUSED.test(code);
  if (!isRefused && !isDatabaseUnavailable(error)) return error;
  const { host, port } = new pg.Client({ connectionString: url });
  const server = `PostgreSQL at ${host}:${port}`;
  if (isRefused) {
    return new Error(`${server} refuses the connection: ${error.message}. Check ${variable}.`, { cause: error });
  }
  // An SQLSTATE, in contrast to a code of Node: the server has answered.
  if (/^\d/.test(code)) {
    return new Error(`${server} is not available now: ${error.message}. Start again later.`, { cause: error });
  }
  return new Error(`${server} cannot be reached (${code || error.message}). Check ${variable}.`, { cause: error });
}

/** Returns an error that names the variable to change when the server cannot listen on its address. */
export function explainListenError(error: unknown, { port, host }: { port: number; host: string }): Error {
  if (!(error instanceof Error)) return new Error(String(error));
  const { code } = error as { code?: string };
  if (code === 'EADDRINUSE') {
    return new Error(`Port ${port} of ${host} is in use (EADDRINUSE). Set SERVICE_PORT to a free port.`, {
      cause: error,
    });
  }
  if (code === 'EACCES') {
    return new Error(`The user of this process may not open port ${port} (EACCES). Set SERVICE_PORT to another one.`, {
      cause: error,
    });
  }
  if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND' || code === 'EAI_AGAIN') {
    return new Error(`${host} is not an address of this machine (${code}). Set SERVICE_HOST to one.`, { cause: error });
  }
  return error;
}
