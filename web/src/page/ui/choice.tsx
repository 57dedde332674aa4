/** One of a few, all of them to be seen: radio buttons in a row. */
import { useId } from "preact/hooks";

export interface ChoiceProps<Value extends string> {
  label: string;
  value: Value;
  options: readonly (readonly [value: Value, label: string])[];
  onChange: (value: Value) => void;
  hint?: string;
}

export function Choice<Value extends string>(props: ChoiceProps<Value>) {
  const { label, value, options, onChange, hint } = props;
  const name = useId();
  return (
    <fieldset class="choice" {...(hint !== undefined && { "aria-describedby": `${name}-hint` })}>
      <legend>{label}</legend>
      <div class="choice-row">
        {options.map(([each, said]) => (
          <label key={each} class="choice-option">
            <input
              type="radio"
              name={name}
              value={each}
              checked={each === value}
              onChange={() => {
                onChange(each);
              }}
            />
            <span>{said}</span>
          </label>
        ))}
      </div>
      {hint !== undefined && (
        <p class="field-hint" id={`${name}-hint`}>
          {hint}
        </p>
      )}
    </fieldset>
  );
}
