// Helms runs many commands of Helm 4 in one process, which saves each of them a start. A line of standard input is a JSON list of arguments;
// its answer is a line {"out", "err", "failed"}. The commands are Helm's own, from the package that the program helm is made of; flags that
// Helm keeps for the whole process, such as --namespace, hold until they are given again. The chart tests run it.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"log"
	"log/slog"
	"os"

	helm "helm.sh/helm/v4/pkg/cmd"
)

type answer struct {
	Out    string `json:"out"`
	Err    string `json:"err"`
	Failed bool   `json:"failed"`
}

func run(arguments []string) answer {
	var out, problems bytes.Buffer
	command, err := helm.NewRootCmd(&out, arguments, func(bool) {})
	if err != nil {
		return answer{Err: err.Error(), Failed: true}
	}
	command.SetArgs(arguments)
	command.SetOut(&out)
	command.SetErr(&problems)
	err = command.Execute()
	return answer{Out: out.String(), Err: problems.String(), Failed: err != nil}
}

func main() {
	slog.SetDefault(slog.New(slog.NewTextHandler(io.Discard, nil)))
	lines := bufio.NewReader(os.Stdin)
	answers := json.NewEncoder(os.Stdout)
	for {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return
		}
		if err != nil {
			log.Fatal(err)
		}
		var arguments []string
		if err := json.Unmarshal(line, &arguments); err != nil {
			log.Fatal(err)
		}
		if err := answers.Encode(run(arguments)); err != nil {
			log.Fatal(err)
		}
	}
}
