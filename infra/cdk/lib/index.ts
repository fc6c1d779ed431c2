export * from './cancel-api';
export { Options } from './generated/options';
