import { AppError } from '../errors.ts';
import type { StoredTemplate } from './template.entity.ts';

export const templateNotFound = (id: string): AppError =>
  new AppError('not_found', `This tenant has no template with the id ${JSON.stringify(id.slice(0, 64))}.`);

export const versionNotFound = ({ eventCode, channel, locale, revision }: StoredTemplate, version: number): AppError =>
  new AppError(
    'not_found',
    `Template \`${eventCode}\` (${channel}, ${locale}) has no version ${version}. Its newest version is ${revision}.`,
  );
