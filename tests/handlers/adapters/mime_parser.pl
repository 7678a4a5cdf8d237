# MIME::Parser of MIME-tools takes a message apart and writes it anew.
use strict;
use warnings;
use MIME::Parser;

my $parser = MIME::Parser->new;
$parser->output_to_core(1);
$parser->tmp_to_core(1);
$| = 1;
while (my $path = <STDIN>) {
    chomp $path;
    eval {
        local $SIG{__WARN__} = sub { };
        local $SIG{ALRM} = sub { die "no answer in time\n" };
        alarm 10;
        open my $in, '<:raw', $path or die "$path: $!";
        my $octets = do { local $/; <$in> };
        $octets =~ s/\r\n/\n/g;
        my $entity = $parser->parse_data($octets);
        open my $out, '>:raw', "$path.out" or die "$path.out: $!";
        print $out $entity->as_string;
        close $out;
    };
    alarm 0;
    print "done\n";
}
