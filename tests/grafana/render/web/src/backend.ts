/**
 * What Grafana's server does for its Prometheus data source: it asks Prometheus and gives data frames.
 *
 * The interpolation of a dashboard's variables and the shape of tables are not its work: the data source's
 * own front end, which is used here, has them.
 */
import { rangeUtil } from '@grafana/data';
import { from, Observable } from 'rxjs';

import { harness } from './harness';

const SCRAPE_INTERVAL_MS = 15_000;
/** The most points for which Prometheus answers a range query. */
const MOST_POINTS = 11_000;

interface Query {
  refId: string;
  expr: string;
  instant?: boolean;
  intervalMs: number;
  interval?: string;
  legendFormat?: string;
}

interface Request {
  url: string;
  method?: string;
  data?: any;
  params?: Record<string, string>;
}

/** Requests of the data source to Grafana's server. */
export function fetch(request: Request): Observable<any> {
  return from(answer(request));
}

async function answer(request: Request) {
  const url = new URL(request.url, 'http://grafana');
  if (url.pathname === '/api/ds/query') {
    return response(await queries(request.data));
  }
  const [, path] = url.pathname.match(/^\/api\/datasources\/uid\/[^/]+\/resources(\/.*)$/) ?? [];
  if (path === undefined) {
    throw new Error(`the server that is imitated here has no ${url.pathname}`);
  }
  const parameters = new URLSearchParams(url.search);
  for (const [name, value] of Object.entries({ ...request.params, ...request.data })) {
    parameters.append(name, String(value));
  }
  return response(await ask(path, parameters));
}

const response = (data: any) => ({ data, ok: true, status: 200, statusText: 'OK', headers: new Headers() });

async function ask(path: string, parameters: URLSearchParams): Promise<any> {
  const answered = await window.fetch(`${harness.prometheus}${path}?${parameters}`);
  const said = await answered.json();
  if (said.status !== 'success') {
    throw new Error(`${said.errorType}: ${said.error}`);
  }
  return said;
}

async function queries(body: { queries: Query[]; from: string; to: string }) {
  const results: Record<string, any> = {};
  await Promise.all(
    body.queries.map(async (query) => {
      try {
        results[query.refId] = await one(query, Number(body.from), Number(body.to));
      } catch (error) {
        results[query.refId] = { error: String(error), status: 400, frames: [] };
      }
    })
  );
  return { results };
}

async function one(query: Query, fromMs: number, toMs: number) {
  const least = query.interval ? rangeUtil.intervalToMs(query.interval) : SCRAPE_INTERVAL_MS;
  const stepMs = Math.max(query.intervalMs, least, (toMs - fromMs) / MOST_POINTS);
  const expr = interpolated(query.expr, stepMs, toMs - fromMs);
  const parameters = new URLSearchParams({ query: expr });
  if (query.instant) {
    parameters.append('time', String(toMs / 1000));
  } else {
    // Steps are multiples of their length, so that a graph does not flicker when it is drawn anew.
    parameters.append('start', String((Math.floor(fromMs / stepMs) * stepMs) / 1000));
    parameters.append('end', String((Math.floor(toMs / stepMs) * stepMs) / 1000));
    parameters.append('step', String(stepMs / 1000));
  }
  const said = await ask(query.instant ? '/api/v1/query' : '/api/v1/query_range', parameters);
  const notices = (said.warnings ?? []).map((text: string) => ({ severity: 'warning', text }));
  const { resultType, result } = said.data;
  const series = resultType === 'scalar' ? [{ metric: {}, value: result }] : result;
  return { status: 200, frames: series.map((found: any) => frame(found, query, resultType, stepMs, notices)) };
}

function interpolated(expr: string, stepMs: number, rangeMs: number): string {
  const values: Record<string, string> = {
    __interval: `${Math.max(Math.round(stepMs / 1000), 1)}s`,
    __interval_ms: String(stepMs),
    __range: `${Math.round(rangeMs / 1000)}s`,
    __range_ms: String(rangeMs),
    __range_s: String(Math.round(rangeMs / 1000)),
    __rate_interval: `${Math.round(Math.max(stepMs + SCRAPE_INTERVAL_MS, 4 * SCRAPE_INTERVAL_MS) / 1000)}s`,
  };
  return expr.replace(/\$\{(__\w+)\}|\$(__\w+)/g, (all, braced, bare) => values[braced ?? bare] ?? all);
}

function frame(found: any, query: Query, resultType: string, stepMs: number, notices: any[]) {
  const points: Array<[number, string]> = found.values ?? [found.value];
  const name = legend(found.metric, query.legendFormat);
  return {
    schema: {
      name,
      refId: query.refId,
      meta: { type: 'timeseries-multi', custom: { resultType }, executedQueryString: query.expr, notices },
      fields: [
        { name: 'Time', type: 'time', config: { interval: stepMs } },
        {
          name: 'Value',
          type: 'number',
          labels: found.metric,
          config: query.legendFormat && query.legendFormat !== '__auto' ? { displayNameFromDS: name } : {},
        },
      ],
    },
    data: { values: [points.map(([at]) => at * 1000), points.map(([, value]) => number(value))] },
  };
}

const number = (text: string) => ({ '+Inf': Infinity, '-Inf': -Infinity, NaN: NaN })[text] ?? Number(text);

function legend(labels: Record<string, string>, format?: string): string {
  if (format && format !== '__auto') {
    return format.replace(/\{\{\s*(.+?)\s*\}\}/g, (_, label) => labels[label] ?? '');
  }
  const { __name__: metric = '', ...others } = labels;
  const pairs = Object.entries(others).map(([label, value]) => `${label}="${value}"`);
  return pairs.length ? `${metric}{${pairs.join(', ')}}` : metric;
}
