package chart

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// ErrFormat is the error for a file name whose end names no format that can be
// written.
var ErrFormat = errors.New("the name of a picture ends in .svg or .png")

// pngResolution makes the usual width 1280 pixels.
//
// Unit: pixels per inch. Source: ours.
const pngResolution = 96

// WriteSVG writes the chart as SVG. Errors: those of w, and charts with too many
// panels.
func (c Chart) WriteSVG(w io.Writer) error {
	width, height, err := c.size()
	if err != nil {
		return err
	}
	canvas := vgsvg.New(vg.Length(width), vg.Length(height))
	if err := c.draw(canvas); err != nil {
		return err
	}
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return fmt.Errorf("composing the picture: %w", err)
	}
	// Few machines have the font by which everything was measured; without a
	// second choice a viewer takes a face with serifs. Quotes are escaped in all
	// texts, so this is found in attributes only.
	out := bytes.ReplaceAll(b.Bytes(), []byte(`style="font-family:Go;font-variant:none;`),
		[]byte(`style="font-family:Go,Helvetica,Arial,sans-serif;`))
	if _, err := w.Write(out); err != nil {
		return fmt.Errorf("writing the picture: %w", err)
	}
	return nil
}

// WritePNG writes the chart as PNG. Errors as [Chart.WriteSVG].
func (c Chart) WritePNG(w io.Writer) error {
	width, height, err := c.size()
	if err != nil {
		return err
	}
	canvas := vgimg.NewWith(vgimg.UseWH(vg.Length(width), vg.Length(height)), vgimg.UseDPI(pngResolution))
	if err := c.draw(canvas); err != nil {
		return err
	}
	if _, err := (vgimg.PngCanvas{Canvas: canvas}).WriteTo(w); err != nil {
		return fmt.Errorf("writing the picture: %w", err)
	}
	return nil
}

// CheckName reports whether [Chart.WriteFile] knows the format that a file name
// asks for: nil, or an error that wraps [ErrFormat].
func CheckName(path string) error {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".svg", ".png":
		return nil
	}
	return fmt.Errorf("%s: %w", path, ErrFormat)
}

// WriteFile writes the chart to a file, in the format that the end of its name
// says. A file of that name is replaced once the picture is complete, so nobody
// sees half of one. Errors: [ErrFormat]; those of the file system.
func (c Chart) WriteFile(path string) error {
	if err := CheckName(path); err != nil {
		return err
	}
	var b bytes.Buffer
	write := c.WriteSVG
	if strings.EqualFold(filepath.Ext(path), ".png") {
		write = c.WritePNG
	}
	if err := write(&b); err != nil {
		return err
	}
	return replaceFile(path, b.Bytes())
}

// replaceFile gives a file new content all at once. A symbolic link stays one.
func replaceFile(path string, content []byte) error {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	mode := fs.FileMode(0o644)
	if info, err := os.Stat(path); err == nil {
		if info.IsDir() {
			return fmt.Errorf("writing the picture: %s is a directory", path)
		}
		if !info.Mode().IsRegular() {
			return os.WriteFile(path, content, mode)
		}
		mode = info.Mode().Perm()
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".picture-*")
	if err != nil {
		return fmt.Errorf("writing the picture: %w", err)
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Chmod(mode), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("writing the picture: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}
