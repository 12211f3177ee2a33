import type { ErrorObject } from 'ajv';

import type { FieldProblem } from '../errors.ts';

/** Converts an error of Ajv to a problem with the path of the field. It contains no values. */
export function fieldProblem(
  { instancePath, keyword, message = 'is invalid', params }: ErrorObject,
  within: string,
): FieldProblem {
  const { missingProperty, additionalProperty } = params as { missingProperty?: string; additionalProperty?: string };
  const path = [within, ...instancePath.split('/').slice(1), missingProperty ?? additionalProperty]
    .filter((part) => part !== undefined)
    .join('.');
  return {
    path,
    message: { required: 'is missing', additionalProperties: 'is not an allowed field' }[keyword] ?? message,
  };
}
