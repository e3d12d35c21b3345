/** Panels of one number for each series: large ones, and bars. */
import { FieldDisplay, PanelProps, VizOrientation, getFieldDisplayValues } from '@grafana/data';
import {
  BarGauge,
  BigValue,
  DataLinksContextMenu,
  VizRepeater,
  VizRepeaterRenderValueProps,
  useTheme2,
} from '@grafana/ui';

import { Nothing, empty, plugin } from './common';

function useValues({ data, options, fieldConfig, replaceVariables, timeZone }: PanelProps, sparkline = false) {
  const theme = useTheme2();
  return () =>
    getFieldDisplayValues({
      data: data.series,
      fieldConfig,
      reduceOptions: options.reduceOptions,
      replaceVariables,
      sparkline,
      theme,
      timeZone,
    });
}

/** The value, which can be clicked where it has links. */
function linked(value: FieldDisplay, show: (onClick?: any, className?: string) => JSX.Element) {
  const { hasLinks, getLinks } = value;
  return hasLinks && getLinks ? (
    <DataLinksContextMenu links={getLinks} style={{ flexBasis: '100%' }}>
      {(api) => show(api.openMenu, api.targetClassName)}
    </DataLinksContextMenu>
  ) : (
    show()
  );
}

function Stat(props: PanelProps) {
  const { data, height, options, renderCounter, width } = props;
  const theme = useTheme2();
  const values = useValues(props, options.graphMode !== 'none');
  return (
    <VizRepeater
      autoGrid
      getValues={values}
      height={height}
      orientation={options.orientation ?? VizOrientation.Auto}
      renderCounter={renderCounter}
      renderValue={({ value, count, ...size }: VizRepeaterRenderValueProps<FieldDisplay>) =>
        linked(value, (onClick, className) => (
          <BigValue
            className={className}
            colorMode={options.colorMode}
            count={count}
            graphMode={options.graphMode}
            hasLinks={value.hasLinks}
            height={size.height}
            justifyMode={options.justifyMode}
            onClick={onClick}
            sparkline={value.sparkline}
            text={options.text}
            textMode={options.textMode}
            theme={theme}
            value={value.display}
            width={size.width}
          />
        ))
      }
      source={data}
      width={width}
    />
  );
}

function Bars(props: PanelProps) {
  const { data, fieldConfig, height, options, renderCounter, width } = props;
  const theme = useTheme2();
  const values = useValues(props);
  if (empty(data.series)) {
    return <Nothing fieldConfig={fieldConfig} />;
  }
  const longest = (found: FieldDisplay[]) => {
    const texts = found.map((one) => one.display);
    const longer = (of: (one: any) => string) =>
      texts.map(of).reduce((left, right) => (left.length < right.length ? right : left), '');
    return { text: longer((one) => one.text), title: longer((one) => one.title ?? '') };
  };
  return (
    <VizRepeater
      getAlignmentFactors={longest}
      getValues={values}
      height={height}
      itemSpacing={options.displayMode === 'lcd' ? 2 : 10}
      maxVizHeight={options.maxVizHeight}
      minVizHeight={options.minVizHeight}
      minVizWidth={options.minVizWidth}
      orientation={options.orientation ?? VizOrientation.Auto}
      renderCounter={renderCounter}
      renderValue={({ value, alignmentFactors, orientation, ...size }: VizRepeaterRenderValueProps<any, any>) =>
        linked(value, (onClick, className) => (
          <BarGauge
            alignmentFactors={alignmentFactors}
            className={className}
            display={value.view?.getFieldDisplayProcessor(value.colIndex)}
            displayMode={options.displayMode}
            field={value.field}
            height={size.height}
            isOverflow={false}
            namePlacement={options.namePlacement}
            onClick={onClick}
            orientation={orientation}
            showUnfilled={options.showUnfilled}
            text={options.text}
            theme={theme}
            value={value.display}
            valueDisplayMode={options.valueMode}
            width={size.width}
          />
        ))
      }
      source={data}
      width={width}
    />
  );
}

export const stat = plugin(Stat, 'thresholds');
export const bargauge = plugin(Bars, 'thresholds');
