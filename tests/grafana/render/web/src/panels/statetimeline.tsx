/** A band for each series, whose colour and word change with the value. */
import {
  DataFrame,
  Field,
  FieldType,
  GrafanaTheme2,
  PanelProps,
  TimeRange,
  formattedValueToString,
  getFieldDisplayName,
  outerJoinDataFrames,
} from '@grafana/data';
import { AxisPlacement, ScaleDirection, ScaleOrientation } from '@grafana/schema';
import { UPlotChart, UPlotConfigBuilder, VizLegend, measureText, useTheme2 } from '@grafana/ui';
import { useMemo } from 'react';
import uPlot from 'uplot';

import { LEGEND, Nothing, empty, plugin } from './common';

const FONT_SIZE = 12;
const GAP = 8;

interface Band {
  text: string;
  colour: string;
  from: number;
  to: number;
}

/** The bands of one series: equal neighbours are one, and where nothing is known there is none. */
function bands(times: number[], field: Field, merged: boolean): Band[] {
  const step = times.length > 1 ? Math.min(...times.slice(1).map((time, index) => time - times[index])) : 0;
  const found: Band[] = [];
  times.forEach((from, index) => {
    const value = field.values[index];
    if (value === null || value === undefined) {
      return;
    }
    const shown = field.display!(value);
    const band = {
      text: formattedValueToString(shown),
      colour: shown.color ?? '#888888',
      from,
      to: Math.min(times[index + 1] ?? from + step, from + 2 * step),
    };
    const last = found.at(-1);
    if (merged && last && last.to === from && last.text === band.text && last.colour === band.colour) {
      last.to = band.to;
    } else {
      found.push(band);
    }
  });
  return found;
}

function configured(
  rows: Array<{ name: string; bands: Band[] }>,
  range: TimeRange,
  zone: string,
  options: any,
  opacity: number,
  theme: GrafanaTheme2
) {
  const builder = new UPlotConfigBuilder(zone);
  builder.addScale({
    scaleKey: 'x',
    orientation: ScaleOrientation.Horizontal,
    direction: ScaleDirection.Right,
    isTime: true,
    range: () => [range.from.valueOf(), range.to.valueOf()],
  });
  builder.addAxis({ scaleKey: 'x', isTime: true, placement: AxisPlacement.Bottom, grid: { show: false }, theme });
  builder.addScale({
    scaleKey: 'y',
    orientation: ScaleOrientation.Vertical,
    // The first series is on top.
    direction: ScaleDirection.Down,
    range: () => [-0.5, rows.length - 0.5],
  });
  builder.addAxis({
    scaleKey: 'y',
    placement: AxisPlacement.Left,
    grid: { show: false },
    ticks: { show: false },
    splits: rows.map((_, index) => index),
    values: () => rows.map((row) => row.name),
    size: Math.max(...rows.map((row) => measureText(row.name, FONT_SIZE).width)) + 2 * GAP,
    theme,
  } as any);
  builder.addHook('draw', (plot: uPlot) => {
    const { ctx } = plot;
    ctx.save();
    ctx.beginPath();
    ctx.rect(plot.bbox.left, plot.bbox.top, plot.bbox.width, plot.bbox.height);
    ctx.clip();
    ctx.font = `${FONT_SIZE * devicePixelRatio}px ${theme.typography.fontFamily}`;
    ctx.textAlign = 'left';
    ctx.textBaseline = 'middle';
    rows.forEach((row, index) => {
      const middle = plot.valToPos(index, 'y', true);
      const height = (plot.bbox.height / rows.length) * (options.rowHeight ?? 0.9);
      for (const band of row.bands) {
        const left = plot.valToPos(Math.max(band.from, range.from.valueOf()), 'x', true);
        const right = plot.valToPos(Math.min(band.to, range.to.valueOf()), 'x', true);
        ctx.globalAlpha = opacity / 100;
        ctx.fillStyle = band.colour;
        ctx.fillRect(left, middle - height / 2, right - left, height);
        ctx.globalAlpha = 1;
        const room = right - left - 2 * GAP;
        if (options.showValue !== 'never' && ctx.measureText(band.text).width <= room) {
          ctx.fillStyle = theme.colors.getContrastText(band.colour);
          ctx.fillText(band.text, left + GAP, middle);
        }
      }
    });
    ctx.restore();
  });
  return builder;
}

function rowsOf(series: DataFrame[], merged: boolean) {
  const joined = outerJoinDataFrames({ frames: series, keepDisplayNames: true })!;
  const [time] = joined.fields;
  return joined.fields
    .slice(1)
    .filter((field) => field.type === FieldType.number || field.type === FieldType.string)
    .map((field) => ({ name: getFieldDisplayName(field, joined, series), bands: bands(time.values, field, merged) }));
}

function Timeline({ data, fieldConfig, height, options, timeRange, timeZone, width }: PanelProps) {
  const theme = useTheme2();
  const made = useMemo(() => {
    if (empty(data.series)) {
      return undefined;
    }
    const rows = rowsOf(data.series, options.mergeValues !== false);
    const words = new Map(rows.flatMap((row) => row.bands).map((band) => [band.text, band.colour]));
    const opacity = fieldConfig.defaults.custom?.fillOpacity ?? 70;
    return { config: configured(rows, timeRange, timeZone, options, opacity, theme), words };
  }, [data, fieldConfig, options, theme, timeRange, timeZone]);
  if (made === undefined) {
    return <Nothing fieldConfig={fieldConfig} />;
  }
  const legend = options.legend.showLegend ? 36 : 0;
  const items = [...made.words].map(([label, color]) => ({ label, color, yAxis: 1 }));
  return (
    <div style={{ height, width }}>
      <UPlotChart config={made.config} data={[[0], [0]] as any} height={height - legend} width={width} />
      {legend > 0 && <VizLegend displayMode={options.legend.displayMode} items={items} placement="bottom" />}
    </div>
  );
}

export const stateTimeline = plugin(Timeline, 'continuous-GrYlRd', {
  fillOpacity: 70,
  hideFrom: { legend: false, tooltip: false, viz: false },
  insertNulls: false,
  lineWidth: 0,
  spanNulls: false,
}, LEGEND);
