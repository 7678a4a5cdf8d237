# The gem mail takes a message apart and writes it anew.
require 'mail'

$stdout.sync = true
$stdin.each_line do |line|
  path = line.chomp
  begin
    File.binwrite("#{path}.out", Mail.new(File.binread(path)).to_s)
  rescue StandardError => e
    warn e.message
  end
  puts 'done'
end
