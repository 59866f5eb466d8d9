package plan

// FileSpec is a file whose content says which side is meant.
type FileSpec struct {
	Path  string `yaml:"path"`
	Blue  string `yaml:"blue"`  // content for blue
	Green string `yaml:"green"` // content for green
}

var fileKind = participantKind{
	name:   "file",
	config: FileSpec{},
	fields: fields{
		"path":  {Doc: "the file that is replaced.", Required: true, Env: true},
		"blue":  {Doc: "its content for blue.", Required: true},
		"green": {Doc: "its content for green.", Required: true},
	},
	job: true,
}
